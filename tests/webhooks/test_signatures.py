"""Standard Webhooks signatures, with the vectors of its reference libraries."""

from __future__ import annotations

import pytest

from soconnective.webhooks.signatures import (
    BadSignature,
    key_of,
    new_secret,
    require_signature,
    sign,
    signed_headers,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    assert sign(SECRET, ID, AT, BODY) == SIGNATURE
    assert sign(SECRET.removeprefix("whsec_"), ID, AT, BODY) == SIGNATURE


def test_new_secrets_are_long_and_never_the_same() -> None:
    made = {new_secret() for _ in range(1000)}
    assert len(made) == 1000 and all(len(key_of(secret)) == 32 for secret in made)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_%%%", "hunter2", "whsec_aGVsbG8=", "whsec_" + "A" * 200]
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"base64|bytes"):
        key_of(secret)


def test_what_we_sign_is_accepted_also_among_others_signatures() -> None:
    headers = signed_headers(SECRET, ID, AT, BODY)
    require_signature(SECRET, headers, BODY, AT + 299)
    headers["webhook-signature"] = f"v1,AAAA v2,xyz {SIGNATURE}"
    require_signature(SECRET, headers, BODY, AT - 299)


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({"webhook-signature": ""}, BODY, AT), ({"webhook-signature": "v1,AAAA"}, BODY, AT), ({"webhook-signature": SIGNATURE[3:]}, BODY, AT),
        ({"webhook-signature": "ü" * 40}, BODY, AT), ({"webhook-id": "another"}, BODY, AT), ({"webhook-id": ""}, BODY, AT),
        ({"webhook-timestamp": str(AT + 1)}, BODY, AT), ({"webhook-timestamp": "x"}, BODY, AT), ({"webhook-timestamp": "9" * 400}, BODY, AT),
        ({"webhook-timestamp": "²"}, BODY, AT), ({}, BODY + b" ", AT), ({}, BODY, AT + 301), ({}, BODY, AT - 301),
        ({"webhook-signature": "v1,A " * 10 + SIGNATURE}, BODY, AT),
    ],
)  # fmt: skip
def test_what_is_not_signed_as_it_should_be_is_refused(change: dict[str, str], body: bytes, now: int) -> None:
    with pytest.raises(BadSignature):
        require_signature(SECRET, signed_headers(SECRET, ID, AT, BODY) | change, body, now)
