"""What an operation may say no with; views turn each into words beside a field or into a status."""

from __future__ import annotations

from typing import Any

Link = tuple[str, str, dict[str, Any]]


class Refused(Exception):
    """An operation declines what was asked: `message` belongs beside the form field `field`.

    `field` None means the form as a whole. `link` is an optional (label, endpoint,
    arguments) of a page that helps, for example the other contact that already owns an address: operations
    also run where no address can be built.
    """

    def __init__(self, message: str, field: str | None = None, link: Link | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.link = link


class Conflict(Exception):
    """Somebody saved a newer version of `record` than the one the form was made from (HTTP 409)."""

    def __init__(self, record: object) -> None:
        super().__init__(f"{type(record).__name__} was changed by somebody else")
        self.record = record


class NoTenant(RuntimeError):
    """A statement touched rows that belong to a tenant while no tenant was set."""


class CrossTenant(RuntimeError):
    """A row, or a reference, of another tenant was about to be read or written."""


class TransactionLost(RuntimeError):
    """The database ended the transaction under us: nothing may be reported as saved."""
