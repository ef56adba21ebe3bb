"""The pages of companies."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from soconnective.contacts import operations
from soconnective.contacts.forms import CompanyForm
from soconnective.contacts.models import Company
from soconnective.contacts.queries import get_company
from soconnective.core.access import may
from soconnective.core.conditions import Field
from soconnective.core.deletion import delete_page
from soconnective.core.listing import Listing
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.search import among, matching
from soconnective.saved_views import Listed, ListFilter, Quick, by_id, by_person, register_list
from soconnective.tags.queries import tag_choices

bp = Blueprint("companies", __name__, url_prefix="/dashboard/companies")
SORTS = {"name": Company.name, "created": Company.created_at}
CREATED = Field("created_at", "created", "moment", lambda: Company.created_at)
LISTED = register_list(Listed("company", "companies.index", SORTS, [CREATED]))


def _quick(_has_view: bool) -> list[Quick]:
    return [*by_person("owner_id", is_tab=True), *by_id("tag_id", "tag_ids", "include")]


@bp.get("")
@may("records.view")
def index() -> Any:
    asked = ListFilter(LISTED, _quick)
    statement = asked.apply(select(Company))
    found = matching("company", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Company.id, found))
    listing = Listing(
        statement,
        sorts=SORTS,
        default=asked.default_sort or "name",
        args=asked.args,
        key=Company.id,
        options=[selectinload(Company.tag_rows)],
    )
    return render_template("companies/index.html", listing=listing, asked=asked, tag_choices=tag_choices())


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
