"""The page that asks before a record is deleted: what hangs on it and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template

from soconnective.core.forms import RecordForm
from soconnective.core.registry import registry


def delete_page(
    record: Any,
    record_type: str,
    title: str,
    *,
    delete: Callable[[], None],
    back: str,
    back_label: str,
    done: str,
) -> Any:
    """GET asks; POST calls `delete` in the request's transaction and goes to `done`."""
    form = RecordForm(obj=record)
    if form.saved(delete):
        flash(f"{title} was deleted.", "success")
        return redirect(done)
    effects = [
        (dependant.label, count, dependant.effect)
        for dependant in registry.dependants_of(record_type)
        if (count := dependant.count(record))
    ]
    what = registry.record_types[record_type].label.lower()
    html = render_template(
        "record_delete.html",
        form=form,
        title=title,
        what=what,
        effects=effects,
        cancel=back,
        back_label=back_label,
    )
    return html, form.status
