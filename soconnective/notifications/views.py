"""The bell's page, and what each person wants to be told of."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for

from soconnective.core.access import may
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.notifications import operations, queries
from soconnective.notifications.forms import choices_form
from soconnective.notifications.kinds import kinds, mailer
from soconnective.notifications.models import Notification

bp = Blueprint("notifications", __name__, url_prefix="/dashboard")


@bp.get("/notifications")
@may("account.own")
def index() -> Any:
    only_unread = request.args.get("view") == "unread"
    listing = Listing(
        queries.of_person(g.person.id, only_unread),
        sorts={"id": Notification.id},
        default="-id",
        key=Notification.id,
        per_page=30,
    )
    return render_template(
        "notifications/index.html", listing=listing, kinds=kinds(), only_unread=only_unread
    )


@bp.post("/notifications/read")
@may("account.own")
def read_all() -> Any:
    form = RecordForm()
    if form.saved(lambda: operations.mark_all_read(g.person.id)):
        flash("Everything is marked as read.", "success")
    return redirect(url_for("notifications.index"))


@bp.post("/notifications/<id:notification_id>/<any(open, read):what>")
@may("account.own")
def change(notification_id: int, what: str) -> Any:
    """Mark one as read; *open* then leads to what it is about."""
    row = queries.get(notification_id)
    target = queries.link_of(row) if what == "open" else None
    RecordForm().saved(lambda: operations.mark_read(row))
    return redirect(target or url_for("notifications.index", view=request.form.get("view") or None))


@bp.route("/settings/notifications", methods=["GET", "POST"])
@may("account.own")
def choices() -> Any:
    """Per kind: in the app, and also by mail."""
    form, can_mail = choices_form(g.person.id), mailer() is not None
    if form.saved(lambda: operations.choose(g.person.id, form.wanted(can_mail))):
        flash("Saved.", "success")
        return redirect(url_for("notifications.choices"))
    return (
        render_template("notifications/choices.html", form=form, kinds=kinds(), can_mail=can_mail),
        form.status,
    )
