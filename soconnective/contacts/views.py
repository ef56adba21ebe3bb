"""The pages of people."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.contacts import operations
from soconnective.contacts.events import CONTACTS
from soconnective.contacts.forms import MAX_ROWS, ContactForm
from soconnective.contacts.models import Contact
from soconnective.contacts.queries import get_contact
from soconnective.core.access import may
from soconnective.core.deletion import delete_page
from soconnective.core.fields import optional_id
from soconnective.core.listing import Listing
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.registry import people
from soconnective.core.search import among, matching
from soconnective.tags.queries import tag_choices

bp = Blueprint("contacts", __name__, url_prefix="/dashboard/contacts")


def argument_id(name: str) -> int | None:
    """An id in the query string; anything else counts as not given."""
    try:
        return optional_id(request.args.get(name))
    except ValueError:
        return None


@bp.get("")
@may("records.view")
def index() -> Any:
    statement = select(Contact)
    found = matching("contact", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Contact.id, found))
    owner = g.person.id if request.args.get("mine") else argument_id("owner_id")
    if owner is not None:
        statement = statement.where(Contact.owner_id == owner)
    if (company := argument_id("company_id")) is not None:
        statement = statement.where(Contact.company_id == company)
    if (tag := argument_id("tag_id")) is not None:
        statement = statement.where(CONTACTS.has_any([tag]))
    listing = Listing(
        statement,
        sorts={"name": Contact.name, "created": Contact.created_at, "updated": Contact.updated_at},
        default="name",
        key=Contact.id,
        options=[
            joinedload(Contact.company),
            selectinload(Contact.identities),
            selectinload(Contact.tag_rows),
        ],
    )
    owners = [(person.id, person.name) for person in people().values()]
    return render_template(
        "contacts/index.html", listing=listing, owner_choices=owners, tag_choices=tag_choices()
    )


@bp.route("/new", methods=["GET", "POST"])
@may("records.edit")
def new() -> Any:
    form = ContactForm(company_id=argument_id("company_id"))
    if (answer := _rows_changed(form)) is not None:
        return answer
    if form.saved(lambda: operations.create_contact(**form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("contacts.show", contact_id=form.result.id))
    return render_template("contacts/form.html", form=form, contact=None), form.status


@bp.get("/<id:contact_id>")
@may("records.view")
def show(contact_id: int) -> Any:
    contact = get_contact(contact_id)
    panels, links = draw_panels("contact", contact), new_links("contact", contact_id)
    return render_template("contacts/show.html", contact=contact, panels=panels, links=links)


@bp.route("/<id:contact_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(contact_id: int) -> Any:
    contact = get_contact(contact_id)
    form = ContactForm(obj=contact)
    if (answer := _rows_changed(form, contact)) is not None:
        return answer
    if form.saved(lambda: operations.update_contact(contact, **form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("contacts.show", contact_id=contact_id))
    return render_template("contacts/form.html", form=form, contact=contact), form.status


@bp.route("/<id:contact_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(contact_id: int) -> Any:
    contact = get_contact(contact_id)
    return delete_page(
        contact,
        "contact",
        contact.name,
        delete=lambda: operations.delete_contact(contact),
        back=url_for("contacts.show", contact_id=contact_id),
        back_label=contact.name,
        done=url_for("contacts.index"),
    )


def _rows_changed(form: ContactForm, contact: Any = None) -> Any:
    """A row was asked for or taken away, with or without script: the same form again, nothing saved."""
    op = request.form.get("op", "")
    if request.method != "POST" or not op or op == "save":
        return None
    if op == "add" and len(form.identities) < MAX_ROWS:
        form.identities.append_entry()
    elif op.startswith("remove:") and op[7:].isascii() and op[7:].isdigit() and len(op) < 12:
        index = int(op[7:])
        if index < len(form.identities.entries):
            form.identities.entries.pop(index)
    return render_template("contacts/form.html", form=form, contact=contact)
