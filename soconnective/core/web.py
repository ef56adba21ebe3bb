"""What every request goes through: its transaction, CSRF, headers, and pages for what went wrong."""

from __future__ import annotations

import logging
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, g, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter
from whitenoise import WhiteNoise

from soconnective.core import access, db, late, sqlite, tenancy, workspace
from soconnective.core.access import can
from soconnective.core.errors import Conflict, TransactionLost
from soconnective.core.forms import is_clash, workspace_token
from soconnective.core.once import draws_again
from soconnective.core.registry import people, registry

log = logging.getLogger(__name__)
csrf = CSRFProtect()
SAFE = ("GET", "HEAD", "OPTIONS")
TITLES = {
    400: ("That request could not be understood", "Go back, reload the page and try again."),
    403: (
        "You may not do that",
        "Your role in this workspace does not include it. An admin can change your role.",
    ),
    404: ("Nothing here", "It may have been deleted, or it belongs to another workspace."),
    405: ("That address does not work this way", "Go back and use the button on the page."),
    409: (
        "Somebody was faster",
        "This was changed since you opened it. Reload to see how it is now, then try again.",
    ),
    415: ("That kind of content is not taken here", "Use the form on the page."),
    413: ("That is too much at once", "The form or file is larger than 2 MB."),
    422: ("Something is not right", "Go back and check what was typed."),
    429: ("Too many tries", "Wait a few minutes, then try again."),
    500: ("Something broke on our side", "Nothing of this was saved. The log says what happened."),
    503: (
        "Not just now",
        "The database is busy or was interrupted. Nothing of this was saved; try again in a moment.",
    ),
}


class IdConverter(IntegerConverter):
    """An id in a URL: what no row can have is 404, not a database error."""

    regex = r"\d{1,18}"

    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, min=1, max=2**62)


def init_app(app: Flask) -> None:
    app.url_map.converters["id"] = IdConverter
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.wsgi_app = _static_files(app)  # type: ignore[method-assign]
    if proxies := int(app.config["SOCONNECTIVE_TRUSTED_PROXIES"]):
        app.wsgi_app = ProxyFix(app.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    csrf.init_app(app)
    app.before_request(_begin)
    app.after_request(_add_headers)
    app.teardown_request(_end)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(CSRFError, _on_csrf_error)
    app.register_error_handler(Exception, _on_error)
    app.jinja_env.globals.update(
        csp_nonce=csp_nonce, can=can, workspace_token=_token, people=people, registry=registry
    )


def _static_files(app: Flask) -> Any:
    """Vendored folders carry their version in the name, so browsers may keep those for good."""
    root = app.static_folder or ""

    def _is_immutable(path: str, _url: str) -> bool:
        return "/vendor/" in path.replace("\\", "/")

    noise = WhiteNoise(app.wsgi_app, max_age=300, allow_all_origins=False, immutable_file_test=_is_immutable)
    noise.add_files(root, prefix="static/")
    return noise


def _token() -> str:
    return workspace_token() if tenancy.has_tenant() else ""


def csp_nonce() -> str:
    """This request's nonce for script elements."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def _begin() -> None:
    g.outer = (
        tenancy.peek_tenant(),
        access.current_actor(),
        workspace.peek_workspace(),
        sqlite.reads_only.get(),
    )
    tenancy.enter_tenant(None)
    access.enter_actor(access.SYSTEM)
    workspace.enter_workspace(None)
    db.begin_request(safe=_only_reads())
    base = urlsplit(str(request_config("SOCONNECTIVE_BASE_URL")))
    if (
        base.netloc
        and request.host != base.netloc
        and request.endpoint not in ("core.healthz", "core.readyz")
    ):
        abort(400)
    if request.is_json and not access.at_a_door():  # pages are posted as forms
        abort(415)
    if not _is_utf8(request.query_string):  # whatever reads it would break
        abort(400)
    if any("\x00" in part for part in (request.path, *request.args.keys(), *request.args.values())):
        abort(400)
    if (
        request.method not in SAFE
        and current_app.config.get("WTF_CSRF_ENABLED", True)
        and not access.at_a_door()
    ):
        csrf.protect()


def _is_utf8(sent: bytes) -> bool:
    try:
        sent.decode()
    except UnicodeDecodeError:
        return False
    return True


def _only_reads() -> bool:
    """Safe methods, sign-in, sign-out, and the buttons that only draw a form again (`op`) need no write lock."""
    if request.method in SAFE or request.endpoint in _READ_FIRST | _WRITES_NOTHING or access.at_a_door():
        return True
    return draws_again()


# A password takes a tenth of a second to verify or to hash: SQLite's write lock must not be held meanwhile.
# Those of them that write call `db.begin_again()` once that is done.
_READ_FIRST = {
    "security.login",
    "security.verify",
    "security.change_password",
    "accounts.setup",
    "accounts.accept_invitation",
}


_WRITES_NOTHING = {"security.logout", "automations.test"}


def external_url(endpoint: str, **values: Any) -> str:
    """An address to hand on: under SOCONNECTIVE_BASE_URL if there is one, else under this request's host."""
    base = str(request_config("SOCONNECTIVE_BASE_URL")).rstrip("/")
    return base + url_for(endpoint, **values) if base else url_for(endpoint, _external=True, **values)


def request_config(name: str) -> Any:
    return current_app.config.get(name, "")


def _end(_error: BaseException | None) -> None:
    outer = g.pop("outer", None)
    if outer is not None:
        tenancy.enter_tenant(outer[0])
        access.enter_actor(outer[1])
        workspace.enter_workspace(outer[2])
        sqlite.reads_only.set(outer[3])


def _add_headers(response: Response) -> Response:
    location = response.headers.get("Location")
    if location is not None and not is_own(location):
        response.headers["Location"] = "/"
    headers = response.headers
    headers.setdefault("Content-Security-Policy", policy())
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
    if request_config("SESSION_COOKIE_SECURE"):
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    headers["Cache-Control"] = "no-store"
    headers.add("Vary", "HX-Request")
    return response


def policy(*more: str) -> str:
    """What a page may load, and what it may `more` than others."""
    return "; ".join(
        [
            f"default-src 'none'; script-src 'self' 'nonce-{csp_nonce()}'; style-src 'self'; img-src 'self' data:",
            "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            *more,
        ]
    )


def is_own(location: str) -> bool:
    """Whether a redirect stays here: judged on the result, as a browser would read it."""
    if any(ord(char) < 33 or ord(char) == 127 for char in location) or "\\" in location:
        return False
    if location.startswith("/"):
        return not location.startswith("//")
    parts = urlsplit(location)
    return parts.scheme in ("http", "https") and parts.netloc == request.host


def _on_csrf_error(error: CSRFError) -> tuple[str, int]:
    is_late = "referrer" not in (error.description or "")  # else its token fits, and a new one would not help
    if is_late and (offered := late.offer()) is not None:
        return offered, 400
    return _page(
        400,
        "This page was open for too long",
        "Go back, reload the page and send it again. " + (error.description or ""),
    ), 400


def _on_http_error(error: HTTPException) -> Any:
    if error.response is not None:
        return error.response
    code = error.code or 500
    title, text = TITLES.get(code, (error.name, error.description or ""))
    response = Response(_page(code, title, text), code, mimetype="text/html")
    if code == 405 and getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
    return response


def _on_error(error: Exception) -> Any:
    db.abandon()
    code = 500
    if is_clash(error) or isinstance(error, StaleDataError | Conflict):
        code = 409
    elif isinstance(error, TransactionLost) or (isinstance(error, OperationalError) and _is_passing(error)):
        code = 503
    elif (
        isinstance(error, StatementError)
        and not isinstance(error, DBAPIError)
        and isinstance(error.orig, OverflowError)
    ):
        code = 400
    if code >= 500:
        path = request.url_rule if access.at_a_door() else request.path  # a door's address is a secret
        log.error("request failed: %s %s", request.method, path, exc_info=error)
        if request_config("PROPAGATE_EXCEPTIONS") is True and code == 500:
            raise error
    return Response(_page(code, *TITLES[code]), code, mimetype="text/html")


_PASSING = ("locked", "busy", "full", "interrupted", "I/O")


def _is_passing(error: OperationalError) -> bool:
    """Whether it is the database's trouble (busy, full, gone) rather than a mistake in our statement."""
    return error.connection_invalidated or any(word in str(error.orig) for word in _PASSING)


def _page(code: int, title: str, text: str) -> str:
    """The error page; it must never fail itself."""
    try:
        return render_template("errors/error.html", code=code, title=title, text=text)
    except Exception:
        log.exception("the error page could not be drawn")
        return f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{text}</p>"
