"""Set-up, the workspace switcher, accepting an invitation, one's own account."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Any

import click
from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import current_user
from flask_security import login_user

from soconnective.accounts import operations, queries
from soconnective.accounts.forms import AccountForm, NewPersonForm, SetupForm
from soconnective.accounts.passwords import hash_ahead
from soconnective.core import db as database
from soconnective.core.access import may, public
from soconnective.core.errors import Refused
from soconnective.core.forms import RecordForm

bp = Blueprint("accounts", __name__)


def setup_code_path() -> Path:
    return Path(current_app.instance_path) / "setup_code"


def setup_code() -> str:
    """The one-time code of the set-up page, made and printed on the console at need."""
    path = setup_code_path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("-".join(secrets.token_hex(2) for _ in range(3)))
        click.echo(f"Set-up code: {path.read_text().strip()}")
    return path.read_text().strip()


@bp.route("/setup", methods=["GET", "POST"])
@public
def setup() -> Any:
    """The first workspace and its owner; gone once somebody exists."""
    if queries.has_users():
        abort(404)
    form = SetupForm()
    if form.saved(lambda: _set_up(form)):
        setup_code_path().unlink(missing_ok=True)
        login_user(form.result, authn_via=["password"])
        return redirect(url_for("dashboard.index"))
    setup_code()
    return render_template("accounts/setup.html", form=form), form.status


def _set_up(form: SetupForm) -> Any:
    if not hmac.compare_digest((form.code.data or "").encode(), setup_code().encode()):
        raise Refused("This is not the code that the console printed.", "code")
    password = hash_ahead(form.password.data or "", operations.check_email(form.email.data or ""))
    operations.claim_instance()
    tenant = operations.create_tenant(form.name.data or "", form.currency.data, form.timezone.data)
    user = operations.add_user(form.email.data or "", form.person_name.data or "", password)
    operations.add_member(tenant, user, "owner")
    for prepare in current_app.extensions.get("soconnective.new_workspace", ()):
        prepare(tenant.id)
    return user


@bp.post("/dashboard/workspaces/switch")
@public
def switch_workspace() -> Any:
    """Work in another of one's workspaces."""
    if not current_user.is_authenticated:
        return current_app.extensions["soconnective.sign_in"]()
    wanted = request.form.get("tenant_id", "")
    if not any(str(tenant.id) == wanted for _membership, tenant in g.get("workspaces", [])):
        abort(404)
    session["tenant_id"] = int(wanted)
    g.person.last_workspace_id = int(wanted)
    database.commit()
    return redirect(url_for("dashboard.index"))


@bp.route("/invitations/<token>", methods=["GET", "POST"])
@public
def accept_invitation(token: str) -> Any:
    """A new person chooses a password; somebody who exists signs in first and then only joins."""
    invitation = queries.invitation_by_token(token) or abort(404)
    tenant = queries.get_tenant(invitation.tenant_id)
    known = queries.get_user_by_email(invitation.email)
    if known is None:
        form = NewPersonForm()
        if form.saved(lambda: _join_new(form, token)):
            login_user(form.result, authn_via=["password"])
            session["tenant_id"] = invitation.tenant_id
            return redirect(url_for("dashboard.index"))
        return render_template(
            "accounts/accept_new.html", form=form, tenant=tenant, invitation=invitation
        ), form.status
    if not current_user.is_authenticated or current_user.id != known.id:
        target = url_for("accounts.accept_invitation", token=token)
        page = render_template(
            "accounts/accept_sign_in.html", tenant=tenant, invitation=invitation, target=target
        )
        return page, 409 if request.method == "POST" else 200  # 409: somebody joined with it just now
    joining = RecordForm()
    if joining.saved(lambda: _join(token)):
        session["tenant_id"] = invitation.tenant_id
        return redirect(url_for("dashboard.index"))
    return render_template(
        "accounts/accept_join.html", form=joining, tenant=tenant, invitation=invitation
    ), joining.status


def _join_new(form: NewPersonForm, token: str) -> Any:
    password = hash_ahead(form.password.data or "", _open_invitation(token).email)
    invitation = _open_invitation(token)
    user = operations.add_user(invitation.email, form.person_name.data or "", password)
    operations.accept(invitation, user)
    return user


def _join(token: str) -> Any:
    database.begin_again()
    return operations.accept(_open_invitation(token), g.person)


def _open_invitation(token: str) -> Any:
    invitation = queries.invitation_by_token(token)
    if invitation is None:
        raise Refused("This invitation has ended. Ask for a new one.")
    return invitation


@bp.route("/dashboard/settings/account", methods=["GET", "POST"])
@may("account.own")
def account() -> Any:
    """One's own name; links to password and second factor."""
    form = AccountForm(obj=g.person)
    form.record = None
    if form.saved(lambda: setattr(g.person, "name", form.name.data)):
        flash("Saved.", "success")
        return redirect(url_for("accounts.account"))
    has_second_factor = bool(g.person.tf_primary_method)
    return render_template(
        "accounts/account.html", form=form, has_second_factor=has_second_factor
    ), form.status
