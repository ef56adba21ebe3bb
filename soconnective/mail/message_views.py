"""Mails that were asked for: the list, and each with what became of it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from sqlalchemy import or_, select

from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.registry import Panel, registry
from soconnective.jobs import Job
from soconnective.mail.account import find_account
from soconnective.mail.frame import with_frame
from soconnective.mail.models import STATES, MailMessage
from soconnective.mail.outbox import send_again

bp = Blueprint("mails", __name__, url_prefix="/dashboard/mail")


@bp.get("")
@may("records.view")
def index() -> Any:
    state = request.args.get("state", "")
    statement = select(MailMessage)
    if state in STATES:
        statement = statement.where(MailMessage.state == state)
    listing = Listing(statement, sorts={"id": MailMessage.id}, default="-id", key=MailMessage.id)
    return render_template("mail/index.html", listing=listing, states=STATES, account=find_account())


@bp.get("/<id:message_id>")
@may("records.view")
def show(message_id: int) -> Any:
    mail = db.session.get(MailMessage, message_id) or abort(404)
    job = db.session.scalars(select(Job).where(Job.key == mail.key)).first()
    places = [(mail.record_type, mail.record_id), (mail.addressee_type, mail.addressee_id)]
    links = [link for place in dict.fromkeys(places) if (link := _link(*place)) is not None]
    return with_frame(render_template("mail/show.html", mail=mail, job=job, links=links, states=STATES))


@bp.post("/<id:message_id>/again")
@may("workspace.edit")
def again(message_id: int) -> Any:
    mail, form = db.session.get(MailMessage, message_id) or abort(404), RecordForm()
    if form.saved(lambda: send_again(mail)):
        flash("It is on its way again, as the same mail.", "success")
    elif form.form_problem:
        flash(form.form_problem, "danger")
    return redirect(url_for("mails.show", message_id=message_id))


def _link(record_type: str | None, record_id: int | None) -> tuple[str, str, str] | None:
    """(kind, title, address of the page) of a record that still exists."""
    kind = registry.record_types.get(record_type or "")
    record = kind.get(record_id) if kind is not None and record_id is not None else None
    return None if kind is None or record is None else (kind.label, kind.title(record), kind.url(record.id))


def mail_panel(record_type: str, order: int = 70) -> Panel:
    """The panel *Mails* for the page of a kind of record: those about it, and those written to it."""

    def _mails(record: Any) -> dict[str, Any]:
        about = (MailMessage.record_type == record_type) & (MailMessage.record_id == record.id)
        to_it = (MailMessage.addressee_type == record_type) & (MailMessage.addressee_id == record.id)
        rows = db.session.scalars(
            select(MailMessage).where(or_(about, to_it)).order_by(MailMessage.id.desc()).limit(10)
        ).all()
        return {"mails": rows, "states": STATES}

    return Panel(f"mails-of-{record_type}", record_type, order, "mail/_panel.html", _mails)
