"""Undo and redo in the builder: what was posted before each button, kept in the page itself and signed.

In the page, because a rule in the making belongs to one window and to nobody's database; signed, because it is
unpacked here. It holds nothing that the same person has not just sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer
from werkzeug.datastructures import MultiDict

from soconnective.core.tenancy import current_tenant_id

MOST_STATES, MOST_LETTERS = 30, 120_000
ASIDE = frozenset({"csrf_token", "workspace", "form_key", "version", "op", "history"})
State = list[list[str]]


class History:
    """The states before this one, and those that were taken back."""

    def __init__(self, token: str = "") -> None:
        self.undone: list[State] = []
        self.done: list[State] = []
        try:
            self.done, self.undone = _signer().loads(token) if token else ([], [])
        except (BadData, ValueError, TypeError):
            self.done, self.undone = [], []

    def remember(self, posted: MultiDict[str, str]) -> None:
        """Before something is changed."""
        state = _state(posted)
        if not self.done or self.done[-1] != state:
            self.done.append(state)
        self.undone = []

    def undo(self, posted: MultiDict[str, str]) -> MultiDict[str, str] | None:
        """The state before; None if there is none."""
        return _swap(self.done, self.undone, posted)

    def redo(self, posted: MultiDict[str, str]) -> MultiDict[str, str] | None:
        return _swap(self.undone, self.done, posted)

    def token(self) -> str:
        """What the page carries; the oldest states go when it becomes too much."""
        if not self.done and not self.undone:
            return ""
        done, undone = self.done[-MOST_STATES:], self.undone[-MOST_STATES:]
        while True:
            text = str(_signer().dumps([done, undone]))
            if len(text) <= MOST_LETTERS or not (done or undone):
                return text
            done, undone = done[len(done) // 2 + 1 :], undone[len(undone) // 2 + 1 :]


def _swap(
    source: list[State], target: list[State], posted: MultiDict[str, str]
) -> MultiDict[str, str] | None:
    if not source:
        return None
    found = source.pop()
    target.append(_state(posted))
    kept: MultiDict[str, str] = MultiDict((name, value) for name, value in found)
    for name in ("version",):  # the clash is that of this page, not of a former one
        kept.setlist(name, posted.getlist(name))
    return kept


def _state(posted: MultiDict[str, str]) -> State:
    return [[name, value] for name, value in _pairs(posted) if name not in ASIDE]


def _pairs(posted: Any) -> Iterable[tuple[str, str]]:
    return posted.items(multi=True)  # type: ignore[no-any-return]


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(
        current_app.config["SECRET_KEY"], salt=f"soconnective.builder.{current_tenant_id()}"
    )
