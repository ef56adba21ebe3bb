"""Sign-in by Flask-Security: one identity per person, our pages, our limits.

What a person may do stands on the membership, never in the library's roles. Mail is not sent from
here: invitations and resets are links that an admin or the operator hands on.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, redirect, request, url_for
from flask_security import Security, SQLAlchemyUserDatastore
from flask_security.forms import LoginForm

from soconnective.accounts.limits import may_try
from soconnective.accounts.models import User
from soconnective.core.db import db

WRONG = "This e-mail address and password do not belong together."


class SignInForm(LoginForm):  # type: ignore[misc]
    """The library's form, with one answer for an unknown address and for a wrong password."""

    def validate(self, **kwargs: Any) -> bool:
        if super().validate(**kwargs):
            return True
        if not self.user_authenticated and self.email.data and self.password.data and not self.csrf_failed:
            self.email.errors = []
            self.password.errors = [WRONG]
        return False

    @property
    def csrf_failed(self) -> bool:
        return "csrf_token" in self._fields and bool(self._fields["csrf_token"].errors)


def init_app(app: Flask) -> None:
    key = app.config["SECRET_KEY"]
    cheap = bool(app.config.get("TESTING"))
    defaults: dict[str, Any] = {
        "SECURITY_PASSWORD_HASH": "plaintext" if cheap else "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["plaintext"] if cheap else ["argon2"],
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_PASSWORD_SINGLE_HASH": True,
        "SECURITY_JOIN_USER_ROLES": False,
        "SECURITY_PASSWORD_SALT": hashlib.sha256(f"salt:{key}".encode()).hexdigest(),
        "SECURITY_PASSWORD_LENGTH_MIN": 8,
        "SECURITY_LOGIN_URL": "/login",
        "SECURITY_LOGOUT_URL": "/logout",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_CHANGE_URL": "/dashboard/settings/password",
        "SECURITY_POST_LOGIN_VIEW": "/dashboard",
        "SECURITY_POST_LOGOUT_VIEW": "/login",
        "SECURITY_POST_CHANGE_VIEW": "/dashboard/settings/account",
        "SECURITY_UNAUTHORIZED_VIEW": None,
        "SECURITY_CHANGEABLE": True,
        "SECURITY_SEND_PASSWORD_CHANGE_EMAIL": False,
        "SECURITY_SEND_REGISTER_EMAIL": False,
        "SECURITY_REGISTERABLE": False,
        "SECURITY_RECOVERABLE": False,
        "SECURITY_TRACKABLE": False,
        "SECURITY_RETURN_GENERIC_RESPONSES": False,
        "SECURITY_FLASH_MESSAGES": False,
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_SETUP_URL": "/dashboard/settings/two-factor",
        "SECURITY_TWO_FACTOR_TOKEN_VALIDATION_URL": "/login/code",
        "SECURITY_TWO_FACTOR_RESCUE_URL": "/login/rescue",
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "/dashboard/settings/account",
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_URL": "/dashboard/settings/recovery-codes",
        "SECURITY_MULTI_FACTOR_RECOVERY_URL": "/login/recovery",
        "SECURITY_TOTP_SECRETS": {"1": hashlib.sha256(f"totp:{key}".encode()).hexdigest()},
        "SECURITY_TOTP_ISSUER": "SoConnective",
        "SECURITY_FRESHNESS_GRACE_PERIOD": timedelta(hours=1),
        "SECURITY_LOGIN_USER_TEMPLATE": "accounts/login.html",
        "SECURITY_CHANGE_PASSWORD_TEMPLATE": "accounts/change_password.html",
        "SECURITY_TWO_FACTOR_SETUP_TEMPLATE": "accounts/two_factor_setup.html",
        "SECURITY_TWO_FACTOR_VERIFY_CODE_TEMPLATE": "accounts/two_factor_code.html",
        "SECURITY_MULTI_FACTOR_RECOVERY_TEMPLATE": "accounts/recovery.html",
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_TEMPLATE": "accounts/recovery_codes.html",
        "SECURITY_VERIFY_TEMPLATE": "accounts/verify.html",
        "SECURITY_SCRIPT_NONCE_KEY": "csp_nonce",
    }
    for name, value in defaults.items():
        app.config.setdefault(name, value)
    datastore = SQLAlchemyUserDatastore(db, User, None)  # type: ignore[arg-type]
    Security(app, datastore, login_form=SignInForm)
    app.before_request(_limit_sign_in)
    app.extensions["soconnective.sign_in"] = _to_sign_in


def _limit_sign_in() -> None:
    """Before the first statement of the request: counting has a transaction of its own."""
    if request.method == "POST" and request.endpoint in (
        "security.login",
        "security.two_factor_token_validation",
    ):
        account = request.form.get("email", "")[:300] or "code"
        if not may_try(account, request.remote_addr or "-"):
            abort(429)


def _to_sign_in() -> Response | Any:
    """Where somebody who is not signed in is sent; after signing in they come back."""
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    if request.headers.get("HX-Request"):
        response = Response("", 200)
        response.headers["HX-Redirect"] = url_for("security.login")
        return response
    return redirect(url_for("security.login", next=target))
