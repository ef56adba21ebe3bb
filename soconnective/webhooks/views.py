"""Settings → Webhooks: endpoints that are called, and what came of each call."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, flash, redirect, render_template, session, url_for
from sqlalchemy import func, select

from soconnective.core import clock
from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.secrets import SecretLost, open_secret
from soconnective.jobs import Job
from soconnective.webhooks import changes, operations, queries
from soconnective.webhooks.forms import EndpointForm, RotateForm
from soconnective.webhooks.models import STATES, WebhookDelivery, WebhookEndpoint

bp = Blueprint("webhooks", __name__, url_prefix="/dashboard/settings/webhooks")
SHOW_ONCE = "webhook_shown"  # in the session: which endpoint's secret the next look at its page shows


@bp.get("")
@may("webhooks.edit")
def index() -> Any:
    counted = db.session.execute(
        select(WebhookDelivery.endpoint_id, func.count())
        .where(WebhookDelivery.state == "failed")
        .group_by(WebhookDelivery.endpoint_id)
    )
    failed = {row[0]: row[1] for row in counted}
    return render_template(
        "webhooks/index.html", endpoints=queries.endpoints(), hooks=queries.hooks(), failed=failed
    )


@bp.route("/endpoints/new", methods=["GET", "POST"])
@may("webhooks.edit")
def new_endpoint() -> Any:
    form = EndpointForm()
    if form.saved(lambda: operations.create_endpoint(form.name.data or "", form.url.data or "")):
        return _shown(form.result.id)
    return render_template("webhooks/endpoint_form.html", form=form, endpoint=None), form.status


@bp.get("/endpoints/<id:endpoint_id>")
@may("webhooks.edit")
def endpoint(endpoint_id: int) -> Any:
    found = queries.get_endpoint(endpoint_id)
    secret = None
    if session.get(SHOW_ONCE) == found.id:
        session.pop(SHOW_ONCE)
        try:
            secret = open_secret(found.secret_name)
        except SecretLost as lost:
            flash(str(lost), "danger")
    mine = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == found.id)
    listing = Listing(
        mine, sorts={"id": WebhookDelivery.id}, default="-id", key=WebhookDelivery.id, per_page=20
    )
    until = found.old_secret_until
    return render_template(
        "webhooks/endpoint.html",
        endpoint=found,
        secret=secret,
        listing=listing,
        states=STATES,
        both_until=until if until and until > clock.now() else None,
    )


@bp.route("/endpoints/<id:endpoint_id>/edit", methods=["GET", "POST"])
@may("webhooks.edit")
def edit_endpoint(endpoint_id: int) -> Any:
    found = queries.get_endpoint(endpoint_id)
    form = EndpointForm(obj=found)
    if form.saved(lambda: operations.update_endpoint(found, form.name.data or "", form.url.data or "")):
        return _shown(found.id) if form.result else redirect(_page(found))
    return render_template("webhooks/endpoint_form.html", form=form, endpoint=found), form.status


@bp.route("/endpoints/<id:endpoint_id>/rotate", methods=["GET", "POST"])
@may("webhooks.edit")
def rotate(endpoint_id: int) -> Any:
    """Asks first: the program at the other end has to be told."""
    found = queries.get_endpoint(endpoint_id)
    form = RotateForm(obj=found)
    if form.saved(lambda: operations.rotate_secret(found, keeps_old=form.keeps_old.data)):
        return _shown(found.id)
    return changes.ask_to_rotate(form, _page(found), queries.last_delivered(found))


@bp.post("/endpoints/<id:endpoint_id>/<any(on, off):what>")
@may("webhooks.edit")
def switch(endpoint_id: int, what: str) -> Any:
    found = queries.get_endpoint(endpoint_id)
    return changes.change(found, _page(found), lambda: operations.switch_endpoint(found, what == "on"))


@bp.post("/endpoints/<id:endpoint_id>/try")
@may("webhooks.edit")
def try_it(endpoint_id: int) -> Any:
    found = queries.get_endpoint(endpoint_id)
    form = RecordForm()
    if form.saved(lambda: operations.try_endpoint(found)):
        return redirect(url_for("webhooks.delivery", delivery_id=form.result.id))
    flash(form.form_problem or changes.NOT_NOW, "danger")
    return redirect(_page(found))


@bp.route("/endpoints/<id:endpoint_id>/delete", methods=["GET", "POST"])
@may("webhooks.edit")
def delete_endpoint(endpoint_id: int) -> Any:
    found = queries.get_endpoint(endpoint_id)
    gone = f"{found.name} is gone, and its secret too."
    return changes.delete(
        found, queries.endpoints(), _page(found), lambda: operations.delete_endpoint(found), gone
    )


@bp.get("/deliveries/<id:delivery_id>")
@may("automations.view")
def delivery(delivery_id: int) -> Any:
    """For everybody who sees runs: a run's trace leads here. The address itself may be a secret, so it is not shown."""
    found = queries.get_delivery(delivery_id)
    return render_template(
        "webhooks/delivery.html",
        delivery=found,
        body=json.dumps(json.loads(found.body), indent=2, ensure_ascii=False),
        endpoint=db.session.get_one(WebhookEndpoint, found.endpoint_id),
        job=_job(found),
        states=STATES,
    )


@bp.post("/deliveries/<id:delivery_id>/again")
@may("webhooks.edit")
def again(delivery_id: int) -> Any:
    found, form = queries.get_delivery(delivery_id), RecordForm()
    if form.saved(lambda: operations.deliver_again(found, _job(found, lock=True))):
        flash("It is on its way again, under the same id.", "success")
    elif form.form_problem:
        flash(form.form_problem, "danger")
    return redirect(url_for("webhooks.delivery", delivery_id=delivery_id))


def _job(found: WebhookDelivery, lock: bool = False) -> Job | None:
    statement = select(Job).where(Job.key == found.key)
    return db.session.scalars(statement.with_for_update() if lock else statement).first()


def _page(found: WebhookEndpoint) -> str:
    return url_for("webhooks.endpoint", endpoint_id=found.id)


def _shown(endpoint_id: int) -> Any:
    """To the endpoint's page, which shows the secret this once."""
    session[SHOW_ONCE] = endpoint_id
    return redirect(url_for("webhooks.endpoint", endpoint_id=endpoint_id))
