"""A person's flows in Debian's Chromium, against the app served on the loopback.

`page` is one fresh window. A test fails if any of its pages logs a console error, throws, or asks
for anything off the loopback; an error that belongs to the flow (a form answered with 422, which
Chromium logs) is named first: ``watch.allow("422")``.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)
from werkzeug.serving import WSGIRequestHandler, make_server

from soconnective.core import clock
from soconnective.jobs import Worker
from tests.mail.conftest import post  # noqa: F401  the other ends of mail and webhooks, for the flows too
from tests.webhooks.conftest import other  # noqa: F401
from tests.workspaces import PASSWORD

PATIENCE = 20_000  # milliseconds until what should be seen is missed: a loaded machine is slow, not wrong
expect.set_options(timeout=PATIENCE)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# what the content security policy refused, with its place; Chromium's own line about it names neither
TELL_POLICY = """document.addEventListener("securitypolicyviolation", (event) => console.error(
  `CSP: ${event.effectiveDirective} refused ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`));"""


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("browser")


class Watch:
    """What the pages of one test did wrong."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._allowed: list[str] = []

    def allow(self, part: str) -> None:
        """Errors whose text holds `part` belong to this test."""
        self._allowed.append(part)

    def look_at(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._note(f"page error: {error}"))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"console: {message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.hostname != "127.0.0.1":
            self._note(f"request off the loopback: {request.url}")

    def _note(self, fault: str) -> None:
        if not any(part in fault for part in self._allowed):
            self.faults.append(fault)


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing = "no Chromium found: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def live_server(app: Flask) -> Iterator[str]:
    """The address of the app, served in a thread from this test's database."""
    app.config.update(WTF_CSRF_ENABLED=True, PROPAGATE_EXCEPTIONS=False)  # as for everybody
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    assert not watch.faults, "\n".join(watch.faults)


@pytest.fixture
def new_page(browser: Browser, live_server: str, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens a window of its own for another person, or with options: ``new_page(java_script_enabled=False)``."""
    contexts: list[BrowserContext] = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(base_url=live_server, locale="en-GB", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("page", watch.look_at)
        context.add_init_script(TELL_POLICY)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()


Work = Callable[..., None]


@pytest.fixture
def work(app: Flask) -> Work:
    """The worker, turned in the test's own thread: ``work()`` does what is due, ``work(moment)`` what is due by then.

    The pages go on living in the present: only the worker believes that it is later.
    """
    worker = Worker(app, poll=0.01)

    def turn(moment: datetime | None = None) -> None:
        with clock.at(moment or clock.now()):
            while worker.turn():
                pass

    return turn


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard")


def require_fit(page: Page) -> None:
    """Nothing of the page stands beside the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
        page.url
    )
