"""Every write to notifications and to what people want of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta

from flask import current_app
from sqlalchemy import select, update

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.kept import kept
from soconnective.core.registry import people
from soconnective.notifications.kinds import Kind, kinds, mailer
from soconnective.notifications.models import TITLE_LENGTH, Notification, NotificationChoice

TEXT_LENGTH = 5000


def notify(
    person_id: int,
    kind: str,
    title: str,
    text: str = "",
    *,
    about: tuple[str, int] | None = None,
    key: str | None = None,
    again_after: timedelta | None = None,
) -> Notification | None:
    """Tell a person something, in the caller's transaction, as they want it: in the app, by mail, or both.

    With a `key` they are told once of that cause, or again once `again_after` is over. Returns None where
    nothing was to be told: to somebody who is no active member, who does not want this kind, or who was told
    already. Raises `KeyError` for a kind that nobody registered.
    """
    known, person = kinds()[kind], people().get(person_id)
    if person is None or not person.is_active:
        return None
    in_app, by_mail = choice_of(person_id, known)
    post = mailer() if by_mail else None
    if not in_app and post is None:
        return None
    if key is not None and _is_told(person_id, key, again_after):
        return None
    subject = _shortened(title)
    row = Notification(
        person_id=person_id,
        kind=kind,
        title=subject,
        text=text[:TEXT_LENGTH],
        record_type=about[0] if about else None,
        record_id=about[1] if about else None,
        key=key,
        is_shown=in_app,
        created_at=clock.now(),
    )
    db.session.add(row)
    if post is not None:
        post.send(person_id, person.email, subject, _as_mail(row), f"notification-{secrets.token_hex(16)}")
    return row


def _is_told(person_id: int, key: str, again_after: timedelta | None) -> bool:
    """Whether this cause was told; one that may be told again gives its key free."""
    told = db.session.scalars(
        select(Notification).where(Notification.person_id == person_id, Notification.key == key)
    ).first()
    if told is None:
        return False
    if again_after is None or told.created_at + again_after > clock.now():
        return True
    told.key = None
    db.session.flush()  # before the new row that takes the key
    return False


def _shortened(title: str) -> str:
    flat = " ".join(title.split())
    return flat if len(flat) <= TITLE_LENGTH else flat[: TITLE_LENGTH - 1] + "…"


def _as_mail(row: Notification) -> str:
    """The text of the mail, with the address of the page where all of them stand."""
    base = str(current_app.config["SOCONNECTIVE_BASE_URL"]).rstrip("/")
    parts = [row.title, row.text, f"{base}/dashboard/notifications" if base else ""]
    return "\n\n".join(part for part in parts if part)


def choice_of(person_id: int, kind: Kind) -> tuple[bool, bool]:
    """Whether a person wants this kind in the app, and whether by mail."""
    row = _choice(person_id, kind.name)
    return (kind.in_app, kind.by_mail) if row is None else (row.in_app, row.by_mail)


def who_want_mail(kind: str) -> set[int]:
    """The people who chose to be told of this kind by mail; read once in a transaction."""
    return kept(
        f"notifications.by_mail.{kind}",
        lambda: set(
            db.session.scalars(
                select(NotificationChoice.person_id).where(
                    NotificationChoice.kind == kind, NotificationChoice.by_mail
                )
            )
        ),
    )


def _choice(person_id: int, kind: str) -> NotificationChoice | None:
    return db.session.scalars(
        select(NotificationChoice).where(
            NotificationChoice.person_id == person_id, NotificationChoice.kind == kind
        )
    ).first()


def choose(person_id: int, wanted: Mapping[str, tuple[bool, bool]]) -> None:
    """Keep what a person wants: by the kind's name, in the app and by mail."""
    for kind, (in_app, by_mail) in wanted.items():
        row = _choice(person_id, kind)
        if row is None:
            row = NotificationChoice(person_id=person_id, kind=kind)
            db.session.add(row)
        row.in_app, row.by_mail = in_app, by_mail


def mark_read(row: Notification) -> Notification:
    """Once read it stays read, with the moment of the first time."""
    row.read_at = row.read_at or clock.now()
    return row


def mark_all_read(person_id: int) -> int:
    """Mark what a person has not read yet; returns how many that were."""
    unread = update(Notification).where(
        Notification.person_id == person_id, Notification.read_at.is_(None), Notification.is_shown
    )
    return int(db.session.execute(unread.values(read_at=clock.now())).rowcount)  # type: ignore[attr-defined]
