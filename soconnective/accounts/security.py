"""Sign-in by Flask-Security: one identity per person, our pages, our limits.

What a person may do stands on the membership, never in the library's roles. Mail is not sent from
here: invitations and resets are links that an admin or the operator hands on.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, g, redirect, render_template, request, session, url_for
from flask_login import current_user, user_logged_in
from flask_security import Security, SQLAlchemyUserDatastore, tf_disabled
from flask_security.forms import ChangePasswordForm, LoginForm

from soconnective.accounts.limits import forget_tries, may_try
from soconnective.accounts.models import User
from soconnective.accounts.passwords import SHORTEST, PasswordRules
from soconnective.accounts.queries import normalise_email
from soconnective.accounts.second_factor import OneTimeCodes, forget_last_code
from soconnective.core import late
from soconnective.core.db import abandon, begin_again, db

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


class NewPasswordForm(ChangePasswordForm):  # type: ignore[misc]
    """The library's form; the new password is hashed, after it, before the transaction that writes begins."""

    def validate(self, **kwargs: Any) -> bool:
        if not super().validate(**kwargs):
            return False
        begin_again()
        return True


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
        "SECURITY_PASSWORD_LENGTH_MIN": SHORTEST,
        "SECURITY_API_ENABLED_METHODS": ["session"],
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
        "SECURITY_FLASH_MESSAGES": True,
        "SECURITY_MSG_PASSWORD_CHANGE": (
            "Your password is changed. Every other session of yours has ended.",
            "success",
        ),
        "SECURITY_MSG_TWO_FACTOR_CHANGE_METHOD_SUCCESSFUL": ("The second factor is on.", "success"),
        "SECURITY_MSG_TWO_FACTOR_DISABLED": ("The second factor is off.", "success"),
        "SECURITY_MSG_TWO_FACTOR_INVALID_TOKEN": (
            "This code is wrong, too old, or was used before. Take the next one that the app shows.",
            "danger",
        ),
        "SECURITY_MSG_TWO_FACTOR_LOGIN_SUCCESSFUL": ("You are signed in.", "success"),
        "SECURITY_MSG_TWO_FACTOR_PERMISSION_DENIED": ("Sign in with your password first.", "warning"),
        "SECURITY_MSG_TWO_FACTOR_SETUP_EXPIRED": ("That took too long. Please start again.", "warning"),
        "SECURITY_MSG_INVALID_RECOVERY_CODE": ("This is not one of your unused recovery codes.", "danger"),
        "SECURITY_MSG_REAUTHENTICATION_REQUIRED": ("Please write your password again first.", "warning"),
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False},
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_SETUP_URL": "/dashboard/settings/two-factor",
        "SECURITY_TWO_FACTOR_TOKEN_VALIDATION_URL": "/login/code",
        "SECURITY_TWO_FACTOR_RESCUE_URL": "/login/rescue",
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "/dashboard/settings/account",
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY": 30,
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
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
    app.before_request(_limit_tries)  # before the library's own, which load the person
    datastore = SQLAlchemyUserDatastore(db, User, None)  # type: ignore[arg-type]
    Security(
        app, datastore, login_form=SignInForm, change_password_form=NewPasswordForm, password_util_cls=PasswordRules,
        totp_cls=OneTimeCodes,
    )  # fmt: skip
    app.login_manager.request_loader(_nobody)  # type: ignore[attr-defined]
    user_logged_in.connect(_on_signed_in, app)
    app.after_request(_forget_tries)
    tf_disabled.connect(forget_last_code, app)
    app.extensions["soconnective.sign_in"] = _to_sign_in


def _nobody(_request: Any) -> None:
    """Only a session says who it is. The library would read a token from the body or the address of any request."""


# Pages of the library that would send mail or offer methods we do not have.
_SWITCHED_OFF = {"security.two_factor_rescue", "security.tf_select"}
# Where a password or a code can be guessed.
_GUESSABLE = {
    "security.login",
    "security.two_factor_token_validation",
    "security.two_factor_setup_validate",
    "security.mf_recovery",
    "security.verify",
    "security.change_password",
    "accounts.setup",
}


def _limit_tries() -> None:
    """Before the first statement of the request: counting has a transaction of its own."""
    if request.endpoint in _SWITCHED_OFF:
        abort(404)
    if request.method != "POST" or request.endpoint not in _GUESSABLE:
        return
    person = session.get("_user_id") or session.get("tf_user_id")
    account = f"person:{person}" if person else normalise_email(request.form.get("email", "")[:300])
    g.tried_as = account or request.endpoint
    if not may_try(g.tried_as, request.remote_addr or "-"):
        abort(429)


def _on_signed_in(_app: Flask, user: User, **_more: Any) -> None:
    g.signed_in_as = user.email


def _forget_tries(response: Response) -> Response:
    """Somebody who got in starts afresh at this network: the limit is for those who guess.

    After the request's transaction, since counting has one of its own.
    """
    if "signed_in_as" in g and response.status_code < 400:
        abandon()
        for account in {g.signed_in_as, g.get("tried_as", g.signed_in_as)}:
            forget_tries(account, request.remote_addr or "-")
    return response


def _to_sign_in() -> Response | Any:
    """Where somebody without a role here is sent: to the sign-in page, from which they come back.

    Who is signed in but belongs to no workspace (any more) is told so. A form that was sent from a page of ours is
    kept meanwhile.
    """
    if current_user.is_authenticated:
        return render_template("accounts/no_workspace.html", person=current_user), 403
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    if request.headers.get("HX-Request"):
        response = Response("", 200)
        response.headers["HX-Redirect"] = url_for("security.login")
        return response
    if request.method == "POST" and (offered := late.offer()) is not None:
        return Response(offered, 401)
    return redirect(url_for("security.login", next=target))
