"""The owner's button that takes the demo data away."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, session, url_for
from flask_security import logout_user

from soconnective.accounts import queries
from soconnective.core.access import may
from soconnective.core.forms import RecordForm
from soconnective.core.tenancy import current_tenant_id
from soconnective.core.workspace import current_workspace
from soconnective.demo import removal

bp = Blueprint("demo", __name__)


@bp.route("/dashboard/settings/demo", methods=["GET", "POST"])
@may("workspace.own")
def remove() -> Any:
    """Asks first and says what goes."""
    if not current_workspace().is_demo:
        abort(404)
    here = current_tenant_id()
    form = RecordForm()
    if form.saved(lambda: removal.remove(here)):
        session.pop("tenant_id", None)
        if not queries.has_users():
            logout_user()
            return redirect(url_for("accounts.setup"))
        return redirect(url_for("dashboard.index"))
    return render_template("demo/remove.html", form=form, workspaces=removal.removable(here)), form.status
