"""The pages of deals."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload, selectinload

from soconnective.contacts.views import argument_id
from soconnective.core import clock
from soconnective.core.access import may
from soconnective.core.deletion import delete_page
from soconnective.core.listing import Listing
from soconnective.core.panels import draw_panels, new_links
from soconnective.core.search import among, matching
from soconnective.core.workspace import workspace_today
from soconnective.deals import operations, queries
from soconnective.deals.events import DEALS
from soconnective.deals.forms import DealForm, MoveForm
from soconnective.deals.models import Deal, DealContact
from soconnective.tags.queries import tag_choices

bp = Blueprint("deals", __name__, url_prefix="/dashboard/deals")
STATUSES = ("open", "won", "lost", "all")


def _filtered() -> Select[Any]:
    """The deals that the URL asks for; what makes no sense there is ignored."""
    statement = select(Deal)
    found = matching("deal", request.args.get("q", ""))
    if found is not None:
        statement = statement.where(among(Deal.id, found))
    status = request.args.get("status", "open")
    if status in ("open", "won", "lost"):
        statement = statement.where(Deal.status == status)
    owner = g.person.id if request.args.get("mine") else argument_id("owner_id")
    for column, value in (
        (Deal.owner_id, owner),
        (Deal.pipeline_id, argument_id("pipeline_id")),
        (Deal.stage_id, argument_id("stage_id")),
        (Deal.company_id, argument_id("company_id")),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if (contact := argument_id("contact_id")) is not None:
        statement = statement.where(
            Deal.id.in_(select(DealContact.deal_id).where(DealContact.contact_id == contact))
        )
    if (tag := argument_id("tag_id")) is not None:
        statement = statement.where(DEALS.has_any([tag]))
    if request.args.get("overdue"):
        statement = statement.where(Deal.status == "open", Deal.expected_close_on < workspace_today())
    return statement


@bp.get("")
@may("records.view")
def index() -> Any:
    statement = _filtered()
    listing = Listing(
        statement,
        sorts={
            "title": Deal.title,
            "amount": Deal.amount,
            "close": Deal.expected_close_on,
            "created": Deal.created_at,
            "entered": Deal.stage_entered_at,
        },
        default="close",
        key=Deal.id,
        options=[joinedload(Deal.stage), joinedload(Deal.company), selectinload(Deal.tag_rows)],
    )
    pipelines = queries.pipelines()
    return render_template(
        "deals/index.html",
        listing=listing,
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
