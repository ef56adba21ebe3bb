"""The account's password and the wire: it stands nowhere but sealed, and only a trusted server is told it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from sqlalchemy import NullPool, create_engine, text

from soconnective.core.db import db, write_transaction
from soconnective.core.model import Base
from soconnective.jobs import Worker
from soconnective.mail import enqueue_mail, transport
from tests.factories.records import make_contact, make_rule
from tests.mail.conftest import CANARY, Post, Running, job_of, mails, make_account, work
from tests.mail.test_pages import GOOD, URL


def dump(app: Flask) -> str:
    """Every row of every table, as one text."""
    with app.app_context():
        engine = create_engine(app.config["SOCONNECTIVE_OWNER_URL"] or db.engine.url, poolclass=NullPool)
    with engine.connect() as connection:
        rows = [
            str(tuple(row))
            for table in Base.metadata.sorted_tables
            for row in connection.execute(text(f'SELECT * FROM "{table.name}"'))
        ]
    engine.dispose()
    return "\n".join(rows)


def test_the_password_is_found_nowhere(
    app: Flask, owner: Any, inside: Any, post: Post, worker: Worker, caplog: Any
) -> None:
    """Through success, refusal, a server that repeats what it was told, and an error of ours."""
    post.wants_login = True
    db.session.rollback()
    good = {**GOOD, "host": "127.0.0.1", "port": str(post.port), "security": "none"}
    assert owner.post(URL, data=good).status_code == 302
    make_rule(
        "contact.created", [("send_email", {"to": "contact", "subject": "s", "body": "{{ contact.name }}"})]
    )
    seen = []
    for number, answer in enumerate(["", f"550 you said {CANARY}", f"450 AHgA{CANARY}"]):
        post.answers = [answer] if answer else []
        make_contact("Ana", f"Ruiz {number}", f"p{number}@x.example")
        work(worker, inside)
    assert [mail.state for mail in mails()] == ["sent", "failed", "queued"]
    assert "you said •••" in mails()[1].error and CANARY in [p for _n, p in post.logins]
    db.session.rollback()
    for page in (URL, "/dashboard/mail", "/dashboard/mail/2", "/dashboard/settings/jobs", "/dashboard/settings/jobs/2",
                 "/dashboard/automations/runs", "/dashboard/automations/runs/1"):  # fmt: skip
        answer = owner.get(page)
        assert answer.status_code == 200, page
        seen.append(answer.text)
    seen.append(owner.post(URL, data={**good, "port": "x", "version": 1}).text)
    found = [
        place
        for place, words in (("pages", "\n".join(seen)), ("rows", dump(app)), ("log", caplog.text))
        if CANARY in words
    ]
    assert found == []
    assert CANARY not in repr(transport.Server("h", 25, "tls", "u", CANARY))


def test_a_password_that_is_written_down_is_found(app: Flask, inside: Any) -> None:
    """Control."""
    make_account(2525)
    with write_transaction():
        enqueue_mail("ana@x.example", "s", f"the password is {CANARY}")
    assert CANARY in dump(app)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_only_a_trusted_server_is_told_the_password(
    inside: Any,
    worker: Worker,
    certificate: tuple[Path, Path],
    security: str,
    is_trusted: bool,
    monkeypatch: Any,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    post = Post(wants_login=True, tls=context if security == "starttls" else None)
    running = Running(post, ssl_context=context if security == "tls" else None)
    try:
        make_account(post.port, security=security, username="crm", password=CANARY)
        with write_transaction():
            enqueue_mail("ana@x.example", "s", "t")
        work(worker, inside)
        mail = mails()[0]
        assert (mail.state, len(post.letters)) == (("sent", 1) if is_trusted else ("failed", 0)), job_of(
            mail
        ).error
        assert bool(post.logins) is is_trusted
        assert is_trusted or "certificate is not to be trusted" in mail.error
    finally:
        running.stop()


def test_a_server_without_starttls_is_told_nothing(inside: Any, post: Post, worker: Worker) -> None:
    post.wants_login = True
    make_account(post.port, security="starttls", username="crm", password=CANARY)
    with write_transaction():
        enqueue_mail("ana@x.example", "s", "t")
    work(worker, inside)
    assert (mails()[0].state, post.logins, post.letters) == ("failed", [], [])
    assert "cannot do what is needed" in mails()[0].error
