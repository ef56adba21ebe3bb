"""Old mails go by themselves; what waits, and what other workspaces keep, stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job
from soconnective.mail import enqueue_mail, upkeep
from tests.mail.conftest import Post, mails, make_account

AGES = [
    ("sent", 366),
    ("sent", 364),
    ("failed", 366),
    ("suppressed", 31),
    ("suppressed", 29),
    ("queued", 400),
]


def fill() -> None:
    with write_transaction():
        for number, (state, days) in enumerate(AGES):
            mail = enqueue_mail(f"p{number}@x.example", "s", "t", is_automatic=False)
            mail.state, mail.created_at = state, clock.now() - timedelta(days=days)


def test_old_mails_are_forgotten_slice_by_slice(
    inside: Any, rivals: Any, post: Post, monkeypatch: Any
) -> None:
    make_account(post.port)
    fill()
    with acting_in(rivals.id):
        make_account(post.port)
        fill()
        db.session.commit()
    monkeypatch.setattr(upkeep, "SLICE", 1)
    turns = 0
    with write_transaction():
        while upkeep.PruneMail().run(Job(payload={})) is not None:
            turns += 1
    assert turns == 3
    assert [(m.state, m.to_address) for m in mails()] == [
        ("sent", "p1@x.example"), ("suppressed", "p4@x.example"), ("queued", "p5@x.example")
    ]  # fmt: skip
    with acting_in(rivals.id):
        db.session.rollback()
        assert len(mails()) == len(AGES)
        db.session.rollback()
