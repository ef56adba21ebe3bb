"""The pages of appointments: an agenda, and each one."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.appointments import operations
from soconnective.appointments.forms import AppointmentForm
from soconnective.appointments.models import Appointment, AppointmentPerson
from soconnective.core import clock
from soconnective.core.access import may
from soconnective.core.conditions import Test
from soconnective.core.db import db
from soconnective.core.deletion import delete_page
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing, argument_id
from soconnective.core.search import among, matching
from soconnective.core.workspace import current_workspace, workspace_today
from soconnective.saved_views import Listed, ListFilter, Quick, by_choice, mine, register_list

bp = Blueprint("appointments", __name__, url_prefix="/dashboard/appointments")
LINKS = (joinedload(Appointment.contact), joinedload(Appointment.deal))
SORTS = {"starts": Appointment.starts_at}
LISTED = register_list(Listed("appointment", "appointments.index", SORTS))
STATUS = {"cancel": "cancelled", "done": "done", "reopen": "scheduled"}


def _quick(has_view: bool) -> list[Quick]:
    when = "past" if request.args.get("view") == "past" else "not_past"
    return [
        *([] if has_view else [Quick("view", Test(field="starts_at", operator=when), is_tab=True)]),
        *mine("owner_id"),
        *by_choice("status", STATUS.values()),
    ]


def _get(appointment_id: int) -> Appointment:
    statement = (
        select(Appointment)
        .where(Appointment.id == appointment_id)
        .options(*LINKS, selectinload(Appointment.people).joinedload(AppointmentPerson.contact))
    )
    return db.session.scalar(statement) or abort(404)


@bp.get("")
@may("records.view")
def index() -> Any:
    past = request.args.get("view") == "past"
    asked = ListFilter(LISTED, _quick)
    statement = asked.apply(select(Appointment))
    found = matching("appointment", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Appointment.id, found))
    listing = Listing(
        statement,
        sorts=SORTS,
        default=asked.default_sort or ("-starts" if past else "starts"),
        args=asked.args,
        key=Appointment.id,
        options=LINKS,
    )
    days: dict[date, list[Appointment]] = {}
    for appointment in listing.items:
        day = clock.local(appointment.starts_at, current_workspace().timezone).date()
        days.setdefault(day, []).append(appointment)
    return render_template(
        "appointments/index.html",
        listing=listing,
        asked=asked,
        days=days,
        past=past,
        today=workspace_today(),
    )


@bp.route("/new", methods=["GET", "POST"])
@may("records.edit")
def new() -> Any:
    form = AppointmentForm(deal_id=argument_id("deal_id"), contact_id=argument_id("contact_id"))
    if form.saved(lambda: operations.schedule_appointment(**form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("appointments.show", appointment_id=form.result.id))
    return render_template("appointments/form.html", form=form, appointment=None), form.status


@bp.get("/<id:appointment_id>")
@may("records.view")
def show(appointment_id: int) -> Any:
    return render_template("appointments/show.html", appointment=_get(appointment_id))


@bp.route("/<id:appointment_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(appointment_id: int) -> Any:
    appointment = _get(appointment_id)
    form = AppointmentForm(obj=appointment)
    if form.saved(lambda: operations.update_appointment(appointment, **form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("appointments.show", appointment_id=appointment_id))
    return render_template("appointments/form.html", form=form, appointment=appointment), form.status


@bp.route("/<id:appointment_id>/<any(cancel, done, reopen):what>", methods=["GET", "POST"])
@may("records.edit")
def switch(appointment_id: int, what: str) -> Any:
    appointment = _get(appointment_id)
    form = RecordForm(obj=appointment)
    if form.saved(lambda: operations.set_status(appointment, STATUS[what])):
        flash(f"The appointment is {STATUS[what]}.", "success")
        return redirect(url_for("appointments.show", appointment_id=appointment_id))
    if form.conflict is not None:
        form.conflict = [("Status", STATUS[what], appointment.status)]
    return render_template(
        "appointments/switch.html", form=form, appointment=appointment, what=what
    ), form.status


@bp.route("/<id:appointment_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(appointment_id: int) -> Any:
    appointment = _get(appointment_id)
    return delete_page(
        appointment,
        "appointment",
        appointment.title,
        delete=lambda: operations.delete_appointment(appointment),
        back=url_for("appointments.show", appointment_id=appointment_id),
        back_label=appointment.title,
        done=url_for("appointments.index"),
    )
