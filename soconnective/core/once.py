"""Once is once: a form that is sent twice, or again after a cut connection, takes effect once.

Every form carries a key made when it was drawn. The post writes a digest of the key and of all that
was sent into `form_posts`, in the transaction of its own changes: whoever sends the same again waits
for the first and gets its answer. The same form sent with other values is another post, so that going
back, changing something and saving again loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from datetime import timedelta
from typing import Any

from flask import Flask, Response, g, redirect, request, session
from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from soconnective.core import clock
from soconnective.core.db import abandon, db
from soconnective.core.model import Base, BigId, UtcDateTime
from soconnective.core.sqlite import reads_only
from soconnective.core.tenancy import current_tenant_id, has_tenant

log = logging.getLogger(__name__)
KEPT = timedelta(days=1)
PATIENCE = 3.0  # seconds for the first one's answer, which follows its commit
LONGEST = 64_000
SAVES = ("", "save", "draft", "publish", "apply")  # any other `op` of a form only draws it again
_HEADERS = ("Location", "Content-Type", "HX-Redirect", "HX-Trigger", "HX-Refresh")
_NOT_MEANT = ("csrf_token", "workspace")  # change with the session, not with what is meant

posts: Table = Table(
    "form_posts",
    Base.metadata,
    Column("tenant_id", BigId, ForeignKey("tenants.id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("status", BigId),  # empty until the answer is known
    Column("headers", Text),
    Column("body", Text),
    PrimaryKeyConstraint("tenant_id", "digest"),
    Index(None, "tenant_id", "created_at"),
)


def init_app(app: Flask) -> None:
    """After the areas: by then the request's workspace is known."""
    app.before_request(_claim)
    app.after_request(_keep_answer)
    app.jinja_env.globals["form_key"] = lambda: secrets.token_urlsafe(12)


def draws_again() -> bool:
    """Whether this post saves nothing: a button of the form that only asks for it anew."""
    return request.form.get("op", "save") not in SAVES


def _claim() -> Response | None:
    """Write down that this post is ours; whoever comes second gets the first one's answer.

    A post that only reads (`draws_again` among them) has no effect to repeat, and must not wait for those who write.
    """
    if request.method != "POST" or reads_only.get() or not has_tenant() or not request.form.get("form_key"):
        return None
    build: Any = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    row = {"tenant_id": current_tenant_id(), "digest": _digest(), "created_at": clock.now()}
    statement = build(posts).values(row).on_conflict_do_nothing().returning(posts.c.digest)
    if db.session.connection().execute(statement).first() is not None:
        g.form_post = row
        return None
    abandon()
    return _answer_of(row)


def _digest() -> str:
    sent = sorted(pair for pair in request.form.items(multi=True) if pair[0] not in _NOT_MEANT)
    what = [request.path, request.args.to_dict(flat=False), session.get("_user_id"), sent]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _mine(row: dict[str, Any]) -> Any:
    return (posts.c.tenant_id == row["tenant_id"]) & (posts.c.digest == row["digest"])


def _answer_of(row: dict[str, Any]) -> Response:
    """What the first one was answered; if that is not known, the page from which it was sent."""
    until = time.monotonic() + PATIENCE
    while True:
        with db.engine.begin() as connection:
            found = connection.execute(
                select(posts.c.status, posts.c.headers, posts.c.body).where(_mine(row))
            ).first()
        if found is not None and found.status is not None:
            return Response(found.body, int(found.status), json.loads(found.headers))
        if found is None or time.monotonic() > until:
            return redirect(request.referrer or "/")  # type: ignore[return-value]
        time.sleep(0.02)


def _keep_answer(response: Response) -> Response:
    """After the changes are saved: the answer, for those who ask again. It may fail; the save stands.

    What the request has not committed ends here, its claim among it: the transaction below is another one,
    and would wait for a lock that this very request holds.
    """
    row = g.pop("form_post", None)
    if row is None or response.status_code >= 400 or not has_tenant():
        return response
    abandon()
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    body = "" if response.direct_passthrough else response.get_data(as_text=True)
    token = reads_only.set(False)
    try:
        with db.engine.begin() as connection:
            values = {"status": response.status_code, "headers": json.dumps(headers), "body": body[:LONGEST]}
            connection.execute(update(posts).where(_mine(row)).values(values))
            old = (posts.c.tenant_id == row["tenant_id"]) & (posts.c.created_at < clock.now() - KEPT)
            connection.execute(delete(posts).where(old))
    except SQLAlchemyError:
        log.exception("the answer to a form could not be kept; who sends it again is led back to its page")
    finally:
        reads_only.reset(token)
    return response
