"""Standard Webhooks signatures: HMAC-SHA256 over id, moment and body (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

PREFIX = "whsec_"
TOLERANCE = 300  # seconds that the sender's clock may be off, and that a call may be on its way


class BadSignature(Exception):
    """A call is not signed as it should be; the message is for whoever sets up the other side."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that `secret` stands for; raises `ValueError`."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if not 16 <= len(key) <= 64:
        raise ValueError("not 16 to 64 bytes")
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes, *older: str) -> dict[str, str]:
    """The headers of a message. While an older secret is still good, it signs too."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(one, message_id, timestamp, body) for one in (secret, *older)),
    }


def require_signature(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise `BadSignature` unless one of the signatures is ours and the moment is close to `now`."""
    message_id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (moment.isascii() and moment.isdigit() and len(moment) < 13):
        raise BadSignature("The headers webhook-id, webhook-timestamp and webhook-signature are needed.")
    if abs(now - int(moment)) > TOLERANCE:
        raise BadSignature("The webhook-timestamp is more than five minutes away from now.")
    wanted = sign(secret, message_id, int(moment), body).encode()
    given = headers.get("webhook-signature", "").split(" ")[:10]
    if not any(hmac.compare_digest(wanted, one.encode("utf-8", "replace")) for one in given):
        raise BadSignature("The webhook-signature does not belong to this body and secret.")
