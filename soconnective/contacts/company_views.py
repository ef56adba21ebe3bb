"""The pages of companies."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from soconnective.contacts import operations
from soconnective.contacts.events import COMPANIES
from soconnective.contacts.forms import CompanyForm
from soconnective.contacts.models import Company
from soconnective.contacts.queries import get_company
from soconnective.contacts.views import argument_id
from soconnective.core.access import may
from soconnective.core.deletion import delete_page
from soconnective.core.listing import Listing
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.search import among, matching
from soconnective.tags.queries import tag_choices

bp = Blueprint("companies", __name__, url_prefix="/dashboard/companies")


@bp.get("")
@may("records.view")
def index() -> Any:
    statement = select(Company)
    found = matching("company", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Company.id, found))
    owner = g.person.id if request.args.get("mine") else argument_id("owner_id")
    if owner is not None:
        statement = statement.where(Company.owner_id == owner)
    if (tag := argument_id("tag_id")) is not None:
        statement = statement.where(COMPANIES.has_any([tag]))
    listing = Listing(
        statement,
        sorts={"name": Company.name, "created": Company.created_at},
        default="name",
        key=Company.id,
        options=[selectinload(Company.tag_rows)],
    )
    return render_template("companies/index.html", listing=listing, tag_choices=tag_choices())


@bp.route("/new", methods=["GET", "POST"])
@may("records.edit")
def new() -> Any:
    form = CompanyForm()
    if form.saved(lambda: operations.create_company(**form.values())):
        flash("Saved.", "success")
        return redirect(url_for("companies.show", company_id=form.result.id))
    return render_template("companies/form.html", form=form, company=None), form.status


@bp.get("/<id:company_id>")
@may("records.view")
def show(company_id: int) -> Any:
    company = get_company(company_id)
    panels, links = draw_panels("company", company), new_links("company", company_id)
    return render_template("companies/show.html", company=company, panels=panels, links=links)


@bp.route("/<id:company_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(company_id: int) -> Any:
    company = get_company(company_id)
    form = CompanyForm(obj=company)
    if form.saved(lambda: operations.update_company(company, **form.values())):
        flash("Saved.", "success")
        return redirect(url_for("companies.show", company_id=company_id))
    return render_template("companies/form.html", form=form, company=company), form.status


@bp.route("/<id:company_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(company_id: int) -> Any:
    company = get_company(company_id)
    return delete_page(
        company,
        "company",
        company.name,
        delete=lambda: operations.delete_company(company),
        back=url_for("companies.show", company_id=company_id),
        back_label=company.name,
        done=url_for("companies.index"),
    )
