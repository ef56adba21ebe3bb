"""Settings → People: who is here, invitations, roles, leaving and handing over."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for

from soconnective.accounts import operations, queries
from soconnective.accounts.forms import HandOverForm, InviteForm, RoleForm
from soconnective.accounts.models import Membership
from soconnective.automation.references import rules_naming
from soconnective.core.access import PERMISSIONS, ROLES, may
from soconnective.core.forms import RecordForm
from soconnective.core.registry import registry
from soconnective.core.web import external_url

bp = Blueprint("members", __name__, url_prefix="/dashboard/settings/members")


@bp.route("", methods=["GET", "POST"])
@may("members.manage")
def index() -> Any:
    form = InviteForm(acting_role=g.role)
    link = None
    if form.saved(lambda: operations.invite(form.email.data or "", form.role.data, g.role)):
        link = external_url("accounts.accept_invitation", token=form.result[1])
        form = InviteForm(formdata=None, acting_role=g.role)
    return (
        render_template(
            "accounts/members.html",
            form=form,
            link=link,
            members=queries.members(),
            invitations=queries.open_invitations(),
            roles=ROLES,
            permissions=PERMISSIONS,
        ),
        form.status,
    )


@bp.post("/invitations/<id:invitation_id>/revoke")
@may("members.manage")
def revoke(invitation_id: int) -> Any:
    invitation = queries.get_invitation(invitation_id) or abort(404)
    if RecordForm().saved(lambda: operations.revoke(invitation)):
        flash("The invitation no longer works.", "success")
    else:
        flash("That did not work. Try again.", "warning")
    return redirect(url_for("members.index"))


@bp.route("/<id:membership_id>", methods=["GET", "POST"])
@may("members.manage")
def edit(membership_id: int) -> Any:
    """Another role for a member."""
    membership = _get(membership_id)
    form = RoleForm(obj=membership, acting_role=g.role)
    if form.saved(lambda: operations.change_role(membership, form.role.data, g.role)):
        flash("The role is changed.", "success")
        return redirect(url_for("members.index"))
    return render_template(
        "accounts/member.html", form=form, membership=membership, status=_status_form(membership)
    ), form.status


@bp.post("/<id:membership_id>/enable")
@may("members.manage")
def enable(membership_id: int) -> Any:
    membership = _get(membership_id)
    form = _status_form(membership)
    if form.saved(lambda: operations.set_member_status(membership, "active", g.role)):
        flash(f"{membership.user.name} is active again.", "success")
        return redirect(url_for("members.index"))
    role_form = RoleForm(formdata=None, obj=membership, acting_role=g.role)
    return render_template(
        "accounts/member.html", form=role_form, membership=membership, status=form
    ), form.status


@bp.route("/<id:membership_id>/disable", methods=["GET", "POST"])
@may("members.manage")
def disable(membership_id: int) -> Any:
    """Asks first: says which rules name the person, and who takes their place there. All else stays theirs."""
    membership = _get(membership_id)
    form = HandOverForm(
        obj=membership, people=_others(membership), nobody="nobody: leave the rules as they are"
    )
    if form.saved(lambda: _disable(membership, form)):
        flash(f"{membership.user.name} is disabled.", "success")
        return redirect(url_for("members.index"))
    return render_template(
        "accounts/disable_member.html",
        form=form,
        membership=membership,
        named=rules_naming("person", membership.user_id),
    ), form.status


@bp.route("/<id:membership_id>/remove", methods=["GET", "POST"])
@may("members.manage")
def remove(membership_id: int) -> Any:
    """Asks first: says what the person holds, and who gets it."""
    membership = _get(membership_id)
    holdings = [(holding.label, holding.count(membership.user_id)) for holding in registry.holdings.values()]
    form = HandOverForm(obj=membership, people=_others(membership))
    if form.saved(lambda: _remove(membership, form)):
        flash(f"{membership.user.name} is no longer a member.", "success")
        return redirect(url_for("members.index"))
    held = [pair for pair in holdings if pair[1]]
    return render_template(
        "accounts/remove_member.html",
        form=form,
        membership=membership,
        holdings=held,
        named=rules_naming("person", membership.user_id),
    ), form.status


def _remove(membership: Membership, form: HandOverForm) -> None:
    operations.hand_over(membership.user_id, int(form.to_id.data) if form.to_id.data else None)
    operations.set_member_status(membership, "removed", g.role)


def _disable(membership: Membership, form: HandOverForm) -> None:
    if form.to_id.data:
        operations.hand_over(membership.user_id, int(form.to_id.data), only=("rules",))
    operations.set_member_status(membership, "disabled", g.role)


def _others(membership: Membership) -> list[tuple[int, str]]:
    people = queries.load_people().values()
    return [(p.id, p.name) for p in people if p.is_active and p.id != membership.user_id]


def _get(membership_id: int) -> Membership:
    return queries.get_member(membership_id) or abort(404)


def _status_form(membership: Membership) -> RecordForm:
    return RecordForm(obj=membership, formdata=request.form if request.method == "POST" else None)
