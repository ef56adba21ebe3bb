"""A rule's key: its name in rules as text. Made from its first name, and kept when it is renamed."""

from __future__ import annotations

import re
import unicodedata
from itertools import count

from sqlalchemy import or_, select

from soconnective.automation.models import Automation
from soconnective.core.db import db

SHAPE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 120


def slug(name: str) -> str:
    """`name` in small plain letters: "Größe über 5" -> "grosse-uber-5"."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:LONGEST].strip("-") or "rule"


def free_key(name: str) -> str:
    """A key for a new rule called `name` that no rule has, deleted ones included."""
    wanted = slug(name)
    taken = set(
        db.session.scalars(
            select(Automation.key).where(
                or_(Automation.key == wanted, Automation.key.startswith(f"{wanted}-", autoescape=True))
            )
        )
    )
    return next(key for n in count(1) if (key := wanted if n == 1 else f"{wanted}-{n}") not in taken)
