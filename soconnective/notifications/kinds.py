"""The kinds of notifications, as those who send them registered them; and how mail is sent, if it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Send = Callable[[int, str, str, str, str], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of notification. `text` says when it comes; `in_app` and `by_mail` are so until a person chooses."""

    name: str
    label: str
    text: str
    icon: str = "bell"
    in_app: bool = True
    by_mail: bool = False


@dataclass(frozen=True, slots=True)
class Mailer:
    """How notifications leave by mail: `send(person_id, address, subject, text, key)`, in the caller's transaction.

    `trouble()` says in words why mail might not get out, before any is sent.
    """

    send: Send
    is_ready: Callable[[], bool]
    trouble: Callable[[], str | None]


_kinds: dict[str, Kind] = {}
_mailer: list[Mailer] = []


def register_kind(*kinds: Kind) -> None:
    for kind in kinds:
        _kinds[kind.name] = kind


def kinds() -> dict[str, Kind]:
    return dict(_kinds)


def mail_with(
    send: Send, is_ready: Callable[[], bool] = lambda: True, trouble: Callable[[], str | None] = lambda: None
) -> None:
    """Set by whoever can send mail. `is_ready()` says whether the current workspace has an account for it."""
    _mailer[:] = [Mailer(send, is_ready, trouble)]


def mail_trouble() -> str | None:
    """Why notifications by mail might not get out of the current workspace."""
    return _mailer[0].trouble() if _mailer else None


def mailer() -> Mailer | None:
    """How mail goes out of the current workspace, or None if it cannot."""
    return _mailer[0] if _mailer and _mailer[0].is_ready() else None
