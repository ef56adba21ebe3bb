"""The pages of deals."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.core import clock
from soconnective.core.access import may
from soconnective.core.conditions import Field, Test
from soconnective.core.deletion import delete_page
from soconnective.core.listing import Listing, argument_id
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.search import among, matching
from soconnective.core.workspace import workspace_today
from soconnective.deals import operations, queries
from soconnective.deals.forms import DealForm, MoveForm
from soconnective.deals.models import Deal, DealContact
from soconnective.saved_views import Listed, ListFilter, Quick, by_choice, by_id, by_person, register_list
from soconnective.tags.queries import tag_choices

bp = Blueprint("deals", __name__, url_prefix="/dashboard/deals")
STATUSES = ("open", "won", "lost")
SORTS = {
    "title": Deal.title,
    "amount": Deal.amount,
    "close": Deal.expected_close_on,
    "created": Deal.created_at,
    "entered": Deal.stage_entered_at,
}
CREATED = Field("created_at", "created", "moment", lambda: Deal.created_at)
LISTED = register_list(Listed("deal", "deals.index", SORTS, [CREATED]))


def _quick(has_view: bool) -> list[Quick]:
    late = [
        Quick("overdue", Test(field="status", operator="is", value="open")),
        Quick("overdue", Test(field="expected_close_on", operator="past"), is_seen=False),
    ]
    return [
        *by_choice("status", STATUSES, "" if has_view else "open", is_tab=True),
        *by_person("owner_id"),
        *by_id("pipeline_id"),
        *by_id("stage_id"),
        *by_id("company_id", is_seen=False),
        *by_id("tag_id", "tag_ids", "include"),
        *(late if request.args.get("overdue") else ()),
    ]


def _filtered(asked: ListFilter) -> Select[Any]:
    """The deals that the URL asks for; what makes no sense there is ignored."""
    statement = asked.apply(select(Deal))
    found = matching("deal", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Deal.id, found))
    if (contact := argument_id("contact_id")) is not None:
        statement = statement.where(
            Deal.id.in_(select(DealContact.deal_id).where(DealContact.contact_id == contact))
        )
    return statement


@bp.get("")
@may("records.view")
def index() -> Any:
    asked = ListFilter(LISTED, _quick)
    statement = _filtered(asked)
    listing = Listing(
        statement,
        sorts=SORTS,
        default=asked.default_sort or "close",
        args=asked.args,
        key=Deal.id,
        options=[joinedload(Deal.stage), joinedload(Deal.company), selectinload(Deal.tag_rows)],
    )
    pipelines = queries.pipelines()
    return render_template(
        "deals/index.html",
        listing=listing,
        asked=asked,
        sums=queries.sums(statement),
        pipelines=pipelines,
        stages={pipeline.id: pipeline.stages for pipeline in pipelines},
        steps=queries.steps_after(listing.items),
        today=workspace_today(),
        now=clock.now(),
        status=request.args.get("status", "open"),
        tag_choices=tag_choices(),
    )


@bp.route("/new", methods=["GET", "POST"])
@may("records.edit")
def new() -> Any:
    form = DealForm(company_id=argument_id("company_id"), contact_id=argument_id("contact_id"))
    if form.saved(lambda: operations.create_deal(**form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("deals.show", deal_id=form.result.id))
    return render_template("deals/form.html", form=form, deal=None), form.status


@bp.get("/<id:deal_id>")
@may("records.view")
def show(deal_id: int) -> Any:
    deal = queries.get_deal(deal_id)
    pipelines = queries.pipelines()
    return render_template(
        "deals/show.html",
        deal=deal,
        pipelines=pipelines,
        stages=next((pipeline.stages for pipeline in pipelines if pipeline.id == deal.pipeline_id), []),
        panels=draw_panels("deal", deal),
        links=new_links("deal", deal_id),
        today=workspace_today(),
        days=(clock.now() - deal.stage_entered_at).days,
    )


@bp.route("/<id:deal_id>/edit", methods=["GET", "POST"])
@may("records.edit")
def edit(deal_id: int) -> Any:
    deal = queries.get_deal(deal_id)
    form = DealForm(obj=deal)
    if form.saved(lambda: operations.update_deal(deal, **form.posted())):
        flash("Saved.", "success")
        return redirect(url_for("deals.show", deal_id=deal_id))
    return render_template("deals/form.html", form=form, deal=deal), form.status


@bp.route("/<id:deal_id>/move", methods=["GET", "POST"])
@may("records.edit")
def move(deal_id: int) -> Any:
    """One click on the page and in the list; the page itself where a reason is missing or somebody was faster."""
    deal = queries.get_deal(deal_id)
    form = MoveForm(obj=deal)
    if request.method == "GET" and (wanted := argument_id("stage_id")) is not None:
        form.stage_id.data = wanted
    if form.saved(lambda: _move(deal, form)):
        flash(f"{deal.title} is now in {deal.stage.name}.", "success")
        return redirect(_back(deal))
    return render_template("deals/move.html", form=form, deal=deal), form.status


def _move(deal: Deal, form: MoveForm) -> Deal:
    return operations.move_deal(deal, queries.get_stage(form.stage_id.data), form.lost_reason.data)


def _back(deal: Deal) -> str:
    if request.form.get("from") == "list":
        return url_for("deals.index")
    return url_for("deals.show", deal_id=deal.id)


@bp.route("/<id:deal_id>/delete", methods=["GET", "POST"])
@may("records.edit")
def delete(deal_id: int) -> Any:
    deal = queries.get_deal(deal_id)
    return delete_page(
        deal,
        "deal",
        deal.title,
        delete=lambda: operations.delete_deal(deal),
        back=url_for("deals.show", deal_id=deal_id),
        back_label=deal.title,
        done=url_for("deals.index"),
    )
