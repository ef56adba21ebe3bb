"""What the pages of endpoints and of hooks share: a small button, a new secret or address, and a delete that asks first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import flash, redirect, render_template, url_for

from soconnective.automation.references import rules_naming
from soconnective.automation.replacing import ReplaceForm
from soconnective.core.forms import RecordForm
from soconnective.webhooks.models import WebhookEndpoint, WebhookHook

Row = WebhookEndpoint | WebhookHook
NOT_NOW = "Somebody changed this in the meantime. Look, and try again."


def change(row: Row, page: str, operation: Callable[[], Any]) -> Any:
    """What a small button does; back to the row's page, which says so if it could not be."""
    form = RecordForm(obj=row)
    if not form.saved(operation):
        flash(form.form_problem or NOT_NOW, "danger")
    return redirect(page)


def ask_to_rotate(form: RecordForm, page: str, last: Any) -> Any:
    """The page that says what a new secret or address breaks. `last`: when the other program was heard of."""
    row = form.record
    named = rules_naming(_kind(row), row.id)
    is_hook = isinstance(row, WebhookHook)
    return render_template(
        "webhooks/rotate.html", form=form, row=row, back=page, rules=named, is_hook=is_hook, last=last
    ), form.status


def delete(row: Row, others: Sequence[Row], page: str, operation: Callable[[], Any], gone: str) -> Any:
    """Asks first: which rules name it, and what comes in its place. `gone` is said afterwards."""
    kind = _kind(row)
    form = ReplaceForm(obj=row, others=[(other.id, other.name) for other in others if other.id != row.id])

    def _delete() -> None:
        form.replace_first(kind)
        operation()

    if form.saved(_delete):
        flash(gone, "success")
        return redirect(url_for("webhooks.index"))
    return render_template(
        "webhooks/delete.html",
        form=form,
        record=row,
        back=page,
        rules=rules_naming(kind, row.id),
        is_hook=isinstance(row, WebhookHook),
    ), form.status


def _kind(row: Row) -> str:
    """The kind of thing that rules name it as."""
    return "hook" if isinstance(row, WebhookHook) else "endpoint"
