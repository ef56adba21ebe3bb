"""The pages of people."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.contacts import operations
from soconnective.contacts.forms import MAX_ROWS, ContactForm
from soconnective.contacts.models import Contact
from soconnective.contacts.queries import get_contact
from soconnective.core.access import may
from soconnective.core.conditions import Field
from soconnective.core.deletion import delete_page
from soconnective.core.listing import Listing, argument_id
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.registry import people
from soconnective.core.search import among, matching
from soconnective.saved_views import Listed, ListFilter, Quick, by_id, by_person, register_list
from soconnective.tags.queries import tag_choices

bp = Blueprint("contacts", __name__, url_prefix="/dashboard/contacts")
SORTS = {"name": Contact.name, "created": Contact.created_at, "updated": Contact.updated_at}
LISTED = register_list(
    Listed(
        "contact",
        "contacts.index",
        SORTS,
        [
            Field("created_at", "created", "moment", lambda: Contact.created_at),
            Field("updated_at", "last changed", "moment", lambda: Contact.updated_at),
        ],
    )
)


def _quick(_has_view: bool) -> list[Quick]:
    return [
        *by_person("owner_id", is_tab=True),
        *by_id("company_id", is_seen=False),
        *by_id("tag_id", "tag_ids", "include"),
    ]


@bp.get("")
@may("records.view")
def index() -> Any:
    asked = ListFilter(LISTED, _quick)
    statement = asked.apply(select(Contact))
    found = matching("contact", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Contact.id, found))
    listing = Listing(
        statement,
        sorts=SORTS,
        default=asked.default_sort or "name",
        args=asked.args,
        key=Contact.id,
        options=[
            joinedload(Contact.company),
            selectinload(Contact.identities),
            selectinload(Contact.tag_rows),
        ],
    )
    owners = [(person.id, person.name) for person in people().values()]
    return render_template(
        "contacts/index.html", listing=listing, asked=asked, owner_choices=owners, tag_choices=tag_choices()
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
