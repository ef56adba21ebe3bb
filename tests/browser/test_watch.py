"""The guard over every browser test, with the faults planted that it should catch."""

from types import SimpleNamespace

import pytest


def test_sign_in_page_has_no_fault(page, watch):
    page.goto("/login")
    assert page.title()
    assert watch.faults == []


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("console.error('planted')", "console: planted"),
        ("setTimeout(() => { throw new Error('planted') })", "page error: planted"),
    ],
)
def test_fault_is_noted(page, watch, script, fault):
    page.goto("/login")
    page.evaluate(script)
    page.wait_for_timeout(50)
    assert any(fault in noted for noted in watch.faults)
    watch.faults.clear()


@pytest.mark.parametrize(
    ("url", "is_fault"),
    [
        ("http://127.0.0.1:1/x", False),
        ("data:,x", False),
        ("https://cdn.example/x.js", True),
        ("http://10.0.0.1/", True),
    ],
)
def test_request_off_the_loopback_is_noted(watch, url, is_fault):
    watch._on_request(SimpleNamespace(url=url))
    assert bool(watch.faults) == is_fault
    watch.faults.clear()


def test_allowed_fault_is_not_noted(page, watch):
    watch.allow("planted")
    page.goto("/login")
    page.evaluate("console.error('planted')")


def test_page_works_without_script(new_page):
    page = new_page(java_script_enabled=False)
    page.goto("/login")
    assert page.locator("form").count() >= 1
