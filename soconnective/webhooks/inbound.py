"""The door for calls that come in: `POST /hooks/<workspace>-<token>`, JSON.

Public on purpose: whoever knows the address may call, and where the hook has a secret, the call must be signed.
No session, no CSRF token, no page. The call is stored and told of in one transaction, in which the rules run;
the answer is 202. The workspace's number stands in the address so that every look happens inside that workspace,
behind all its walls.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Blueprint, Response, request
from limits import parse
from sqlalchemy import select
from werkzeug.exceptions import RequestEntityTooLarge

from soconnective.accounts.limits import count
from soconnective.core import clock
from soconnective.core.access import Actor, door, enter_actor
from soconnective.core.db import begin_again, commit, db
from soconnective.core.secrets import SecretLost, open_secret
from soconnective.core.tenancy import current_tenant_id, enter_tenant
from soconnective.webhooks.causes import HEADER, cause_of
from soconnective.webhooks.hook_operations import digest_of, kept_id, receive
from soconnective.webhooks.mapping import DEEPEST, as_text, at_path, is_too_deep
from soconnective.webhooks.models import WebhookHook
from soconnective.webhooks.refusals import DUPLICATE, may_note_flood, note_refusal
from soconnective.webhooks.signatures import BadSignature, require_signature

bp = Blueprint("hooks", __name__, url_prefix="/hooks")
LONGEST = 64 * 1024
PER_HOOK = parse("120 per minute")
_ADDRESS = re.compile(r"(\d{1,18})-([\w-]{43})", re.ASCII)


class _Refuse(Exception):
    """`hook_id`: of the hook whose page tells of it."""

    def __init__(self, status: int, words: str, hook_id: int | None = None) -> None:
        super().__init__(words)
        self.status, self.hook_id = status, hook_id


@bp.post("/<address>")
@door
def call(address: str) -> Any:
    try:
        hook_id = _admitted(address)
    except _Refuse as refused:
        return _refused(refused)
    try:
        body = _body()
        payload = _payload(body)
        begin_again()  # the limit was counted in a transaction of its own; what follows writes
        hook = _hook(hook_id)
        _require_signed(hook, body)
        external_id = kept_id(_external_id(hook, payload))
        cause = cause_of(request.headers.get(HEADER))
        if receive(hook, payload, body.decode(), external_id, cause) is None:
            note_refusal(hook_id, DUPLICATE, external_id)
            commit()
            return _answer(200, {"status": "known", "detail": DUPLICATE})
        commit()
    except _Refuse as refused:
        refused.hook_id = hook_id if refused.status != 404 else None
        return _refused(refused)
    return _answer(202, {"status": "accepted"})


def _refused(refused: _Refuse) -> Response:
    """The answer; what the hook's page tells of it is written in a transaction of its own."""
    if refused.hook_id is not None:
        begin_again()
        note_refusal(refused.hook_id, str(refused))
        commit()
    return _answer(refused.status, {"status": "refused", "detail": str(refused)})


def _admitted(address: str) -> int:
    """The hook's id; enters its workspace. 404 for what is no address of ours, 429 for too many calls."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[1]) < 2**62:
        raise _Refuse(404, "There is no webhook at this address.")
    enter_tenant(int(found[1]))
    hook = db.session.scalars(
        select(WebhookHook).where(
            WebhookHook.token_digest == digest_of(found[2]),
            WebhookHook.deleted_at.is_(None),
            WebhookHook.is_active.is_(True),
        )
    ).first()
    if hook is None:
        enter_tenant(None)
        raise _Refuse(404, "There is no webhook at this address.")
    enter_actor(Actor("api", hook.id, f"webhook {hook.name}"))
    hook_id = int(hook.id)
    if not count(PER_HOOK, "webhook", str(current_tenant_id()), str(hook_id)):
        told = hook_id if may_note_flood(hook_id) else None
        raise _Refuse(429, f"Too many calls: {PER_HOOK}. Send this one again in a minute.", told)
    return hook_id


def _hook(hook_id: int) -> WebhookHook:
    hook = db.session.get(WebhookHook, hook_id)
    if hook is None or not hook.is_active or hook.deleted_at is not None:  # in this moment
        raise _Refuse(404, "There is no webhook at this address.")
    return hook


def _body() -> bytes:
    if not request.is_json:
        raise _Refuse(415, "Send JSON, with the header Content-Type: application/json.")
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:  # longer than anything that is taken anywhere
        body = b" " * (LONGEST + 1)
    if len(body) > LONGEST:
        raise _Refuse(413, f"A call has at most {LONGEST // 1024} kB.")
    return body


def _payload(body: bytes) -> Any:
    try:
        payload = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _Refuse(400, "The body is not JSON.") from None
    if is_too_deep(payload):
        raise _Refuse(400, f"The JSON is nested more than {DEEPEST} deep.")
    if not isinstance(payload, dict | list):
        raise _Refuse(400, "The JSON must be an object or a list.")
    return payload


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _require_signed(hook: WebhookHook, body: bytes) -> None:
    if not hook.is_signed:
        return
    try:
        secret = open_secret(hook.secret_name)
    except SecretLost:
        secret = None
    if secret is None:
        raise _Refuse(401, "The secret of this webhook cannot be read here. It has to be entered again.")
    try:
        require_signature(
            secret, {n.lower(): v for n, v in request.headers.items()}, body, clock.now().timestamp()
        )
    except BadSignature as bad:
        raise _Refuse(401, str(bad)) from None


def _external_id(hook: WebhookHook, payload: Any) -> str | None:
    """What tells a duplicate: at the hook's path, else the header webhook-id, else `id`."""
    if hook.id_path:
        return as_text(at_path(payload, hook.id_path)) or None
    given = request.headers.get("webhook-id", "").strip().replace("\x00", "")
    return given or as_text(at_path(payload, "id")) or None


def _answer(status: int, said: dict[str, str]) -> Response:
    response = Response(json.dumps(said), status, mimetype="application/json")
    if status == 429:
        response.headers["Retry-After"] = "60"
    return response
