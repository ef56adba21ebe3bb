"""A real mail server on loopback, an account that leads to it, and a worker that is turned by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from flask import Flask
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.jobs import Job, Worker
from soconnective.mail.account import save_account
from soconnective.mail.models import MailAccount, MailMessage

CANARY = "kanarek-password-7Q"


@dataclass
class Letter:
    """What the server was handed."""

    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class Post:
    """A mail server. `answers`: what it says to each recipient or text in turn, before it takes anything."""

    port: int = 0
    letters: list[Letter] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    wants_login: bool = False
    tls: Any = None

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = message_from_bytes(envelope.content, policy=POLICY)
        assert isinstance(message, EmailMessage)
        self.letters.append(Letter(envelope.mail_from, envelope.rcpt_tos, message))
        return "250 taken"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == CANARY.encode(), handled=False)

    def protocol(self) -> SMTP:
        return SMTP(
            self,
            hostname="loopback",
            tls_context=self.tls,
            authenticator=self.login if self.wants_login else None,
            auth_require_tls=False,
        )


class Running:
    """A `Post` that listens on a loopback port in a thread of its own."""

    def __init__(self, post: Post, port: int = 0, ssl_context: Any = None) -> None:
        self.post = post
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()  # not begun from here: the browser's tests have a loop of their own in this thread
        begin = self._listen(port, ssl_context)
        self.server = asyncio.run_coroutine_threadsafe(begin, self.loop).result(10)
        post.port = self.server.sockets[0].getsockname()[1]

    async def _listen(self, port: int, ssl_context: Any) -> asyncio.Server:
        return await self.loop.create_server(self.post.protocol, "127.0.0.1", port, ssl=ssl_context)

    def stop(self) -> None:
        async def _end() -> None:
            self.server.close()
            await self.server.wait_closed()
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await asyncio.sleep(0.02)  # what was cut off closes its socket

        asyncio.run_coroutine_threadsafe(_end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def post() -> Iterator[Post]:
    running = Running(Post())
    yield running.post
    running.stop()


@pytest.fixture
def app(app: Flask) -> Flask:
    app.config["SOCONNECTIVE_MAIL_INSIDE"] = True
    return app


def make_account(port: int, **values: Any) -> MailAccount:
    wanted: dict[str, Any] = {
        "host": "127.0.0.1", "port": port, "security": "none", "username": None, "hourly_cap": 200,
        "from_address": "crm@acme.example", "from_name": "Acme CRM", **values,
    }  # fmt: skip
    with write_transaction():
        return save_account(None, **wanted)[0]


@pytest.fixture
def account(post: Post, inside: Any) -> MailAccount:
    return make_account(post.port)


@pytest.fixture
def there(app: Flask, team: Any) -> Iterator[Any]:
    """Inside the team's workspace, beside a client that asks for pages."""
    with app.app_context(), acting_in(team.id):
        yield team
        db.session.rollback()


@pytest.fixture
def worker(app: Flask) -> Worker:
    return Worker(app, poll=0.01)


def work(worker: Worker, team: Any, turns: int = 1) -> None:
    """Let the worker do what is due; the test is inside the team's workspace again afterwards."""
    db.session.rollback()
    for _ in range(turns):
        worker.turn()
    db.session.rollback()


def later(worker: Worker, team: Any, seconds: float = 20_000) -> None:
    """The same when time has passed."""
    from datetime import timedelta

    with clock.at(clock.now() + timedelta(seconds=seconds)):
        work(worker, team)


def mails() -> list[MailMessage]:
    db.session.expire_all()
    return list(db.session.scalars(select(MailMessage).order_by(MailMessage.id)))


def job_of(mail: MailMessage) -> Job:
    return db.session.scalars(select(Job).where(Job.key == mail.key)).one()
