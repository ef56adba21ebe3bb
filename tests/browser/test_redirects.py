"""Proof 8, open redirects: signing in leads nowhere else, judged by where Chromium ends up."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask

from tests.accounts.test_sign_in import TARGETS
from tests.workspaces import PASSWORD

NAME = "8 Open redirects"
HEADS = ["//", "///", "////", "/\\", "\\\\", "/\t/", "/\r\n/", "https:", "https:/", "https:\\\\", " //", "%2f%2f", "/%2f", "/.//", "\x01//", "https://localhost@", "?//", "#//"]  # fmt: skip
FORMS = [
    *TARGETS,
    *(
        f"{head}{host}"
        for host, head in product(("evil.example", "evil.example/dashboard", "2130706433"), HEADS)
    ),
]


def arrives_at(page: Any, live_server: str, email: str, target: str) -> str:
    """The host where somebody lands who signs in with `target` as the next page."""
    page.context.clear_cookies()
    answer = page.goto(f"{live_server}/login?next={quote(target, safe='')}")
    if answer.status == 400:  # refused as it stands
        return urlsplit(page.url).netloc
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    return urlsplit(page.url).netloc


@pytest.mark.proof(NAME)
def test_signing_in_stays_here(
    app: Flask, team: Any, page: Any, live_server: str, watch: Any, proof: Any
) -> None:
    watch.allow("404")
    watch.allow("400")
    assert len(FORMS) >= 60
    own = urlsplit(live_server).netloc
    for target in FORMS if proof.is_long else FORMS[::7]:
        assert arrives_at(page, live_server, team.owner.email, target) == own, target
        proof.cases += 1


@pytest.mark.control(NAME)
def test_a_redirect_elsewhere_is_found(
    app: Flask, team: Any, page: Any, live_server: str, watch: Any
) -> None:
    """Planted: a server that sends people where the address says, to another name of this machine."""
    other = live_server.replace("127.0.0.1", "localhost")
    watch.allow("localhost")

    @app.after_request
    def _elsewhere(response: Any) -> Any:
        if response.status_code == 302:
            response.headers["Location"] = f"{other}/login"
        response.headers.pop("Content-Security-Policy")  # it would stop the form as well
        return response

    app.after_request_funcs[None].insert(0, app.after_request_funcs[None].pop())
    assert arrives_at(page, live_server, team.owner.email, "/dashboard") != urlsplit(live_server).netloc
