"""Every write to hooks, and taking a call in."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Refused
from soconnective.core.secrets import keep_secret
from soconnective.core.tenancy import current_tenant_id
from soconnective.events import DomainEvent, fold, take, tell
from soconnective.webhooks.mapping import checked_path, mapped, parse_mapping
from soconnective.webhooks.models import WebhookCall, WebhookHook
from soconnective.webhooks.signatures import key_of


def create_hook(name: str, **values: Any) -> tuple[WebhookHook, str]:
    """A new hook, and its address's last part, which is known only now."""
    hook = WebhookHook(name=name, token_digest="")
    token = rotate_address(hook)
    db.session.add(hook)
    _apply(hook, values)
    return hook, token


def update_hook(hook: WebhookHook, name: str, **values: Any) -> None:
    hook.name = name
    _apply(hook, values)


def rotate_address(hook: WebhookHook) -> str:
    """A new secret address in place of the old one, which answers 404 from now on. Returns its last part."""
    token = secrets.token_urlsafe(32)
    hook.token_digest = digest_of(token)
    return f"{current_tenant_id()}-{token}"


def switch_hook(hook: WebhookHook, is_active: bool) -> None:
    hook.is_active = is_active


def delete_hook(hook: WebhookHook) -> None:
    """Its address answers 404; the calls that came stay until they are old."""
    hook.deleted_at, hook.is_active = clock.now(), False
    keep_secret(hook.secret_name, None)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def kept_id(external_id: str | None) -> str | None:
    """The id of a call as it is kept: a very long one by its digest."""
    if external_id is not None and len(external_id) > 190:
        return f"sha256-{hashlib.sha256(external_id.encode()).hexdigest()}"
    return external_id


def receive(
    hook: WebhookHook, payload: Any, text: str, external_id: str | None, cause: DomainEvent | None
) -> WebhookCall | None:
    """Store a call and tell of it; None if one with this id came before. `cause` is what our own mark says."""
    external_id = kept_id(external_id)
    if external_id is not None and _came_before(hook, external_id):
        return None
    call = WebhookCall(
        hook_id=hook.id, external_id=external_id, payload=text, fields=mapped(payload, hook.mapping)
    )
    try:
        with db.session.begin_nested():
            db.session.add(call)
    except IntegrityError:  # the same call came twice in one moment
        if external_id is None or not _came_before(hook, external_id):
            raise
        return None
    if cause is not None:
        session = db.session()
        tell(session, [fact for fact, _wanted in fold(session, take(session), cause=cause)])
    return call


def _came_before(hook: WebhookHook, external_id: str) -> bool:
    known = select(WebhookCall.id).where(
        WebhookCall.hook_id == hook.id, WebhookCall.external_id == external_id
    )
    return db.session.scalar(known) is not None


def _apply(hook: WebhookHook, values: dict[str, Any]) -> None:
    """What was typed: a secret of None keeps the one there is, `is_signed` False forgets it."""
    hook.mapping = parse_mapping(values.get("mapping"))
    path = values.get("id_path")
    hook.id_path = checked_path(path, "Here ", "id_path") if path else None
    secret, hook.is_signed = values.get("secret"), bool(values.get("is_signed"))
    if not hook.is_signed:
        db.session.flush()
        keep_secret(hook.secret_name, None)
        return
    if secret:
        try:
            key_of(secret)
        except ValueError:
            raise Refused(
                "This is no secret of the Standard Webhooks kind: whsec_ and then base64 of 16 to 64 bytes.",
                "signing_password",
            ) from None
        db.session.flush()
        keep_secret(hook.secret_name, secret)
    elif hook.id is None or not values.get("has_secret"):
        raise Refused("Write the secret that the other side signs with.", "signing_password")
