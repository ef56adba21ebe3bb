"""Settings → Webhooks: secret addresses that others call, and the calls that came."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, redirect, render_template, session, url_for
from sqlalchemy import select

from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.listing import Listing
from soconnective.core.registry import registry
from soconnective.core.secrets import has_secret
from soconnective.core.web import external_url
from soconnective.webhooks import changes, queries
from soconnective.webhooks import hook_operations as operations
from soconnective.webhooks.forms import HookForm
from soconnective.webhooks.models import WebhookCall, WebhookHook
from soconnective.webhooks.refusals import last_deliveries

bp = Blueprint("webhook_hooks", __name__, url_prefix="/dashboard/settings/webhooks")
SHOW_ONCE = "hook_shown"  # in the session: the hook, and its address, which nobody can read again


@bp.route("/hooks/new", methods=["GET", "POST"])
@may("webhooks.edit")
def new() -> Any:
    form = HookForm()
    if form.saved(lambda: operations.create_hook(form.name.data or "", **form.settings())):
        hook, token = form.result
        return _shown(hook.id, token)
    return render_template("webhooks/hook_form.html", form=form, hook=None), form.status


@bp.get("/hooks/<id:hook_id>")
@may("webhooks.edit")
def show(hook_id: int) -> Any:
    hook = queries.get_hook(hook_id)
    shown, address = session.get(SHOW_ONCE), None
    if isinstance(shown, list) and shown[0] == hook.id:
        session.pop(SHOW_ONCE)
        address = external_url("hooks.call", address=shown[1])
    mine = select(WebhookCall).where(WebhookCall.hook_id == hook.id)
    listing = Listing(mine, sorts={"id": WebhookCall.id}, default="-id", key=WebhookCall.id, per_page=20)
    return render_template(
        "webhooks/hook.html",
        hook=hook,
        address=address,
        listing=listing,
        deliveries=last_deliveries(hook.id),
    )


@bp.route("/hooks/<id:hook_id>/edit", methods=["GET", "POST"])
@may("webhooks.edit")
def edit(hook_id: int) -> Any:
    hook = queries.get_hook(hook_id)
    form = HookForm(obj=hook)
    known = has_secret(hook.secret_name)
    if form.saved(lambda: operations.update_hook(hook, form.name.data or "", **form.settings(known))):
        return redirect(_page(hook))
    return render_template("webhooks/hook_form.html", form=form, hook=hook), form.status


@bp.route("/hooks/<id:hook_id>/rotate", methods=["GET", "POST"])
@may("webhooks.edit")
def rotate(hook_id: int) -> Any:
    """Asks first: the old address stops working at once."""
    hook = queries.get_hook(hook_id)
    form = RecordForm(obj=hook)
    if form.saved(lambda: operations.rotate_address(hook)):
        return _shown(hook.id, form.result)
    return changes.ask_to_rotate(form, _page(hook), queries.last_received(hook))


@bp.post("/hooks/<id:hook_id>/<any(on, off):what>")
@may("webhooks.edit")
def switch(hook_id: int, what: str) -> Any:
    hook = queries.get_hook(hook_id)
    return changes.change(hook, _page(hook), lambda: operations.switch_hook(hook, what == "on"))


@bp.route("/hooks/<id:hook_id>/delete", methods=["GET", "POST"])
@may("webhooks.edit")
def delete(hook_id: int) -> Any:
    hook = queries.get_hook(hook_id)
    gone = f"{hook.name} is gone; its address answers nobody any more."
    return changes.delete(hook, queries.hooks(), _page(hook), lambda: operations.delete_hook(hook), gone)


@bp.get("/calls/<id:call_id>")
@may("automations.view")
def call(call_id: int) -> Any:
    """What came, and what its hook's mapping found in it."""
    found = queries.get_call(call_id)
    hook = db.session.get_one(WebhookHook, found.hook_id)
    pretty = json.dumps(json.loads(found.payload), indent=2, ensure_ascii=False)
    kind = registry.record_types.get("contact")
    row = kind.get(found.contact_id) if kind and found.contact_id is not None else None
    contact = (kind.title(row), kind.url(row.id)) if kind and row is not None else None
    return render_template("webhooks/call.html", call=found, hook=hook, payload=pretty, contact=contact)


def _page(hook: WebhookHook) -> str:
    return url_for("webhook_hooks.show", hook_id=hook.id)


def _shown(hook_id: int, token: str) -> Any:
    """To the hook's page, which shows the address this once."""
    session[SHOW_ONCE] = [hook_id, token]
    return redirect(url_for("webhook_hooks.show", hook_id=hook_id))
