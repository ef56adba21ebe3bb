"""axe-core finds nothing on any page, on desktop and phone, in light and dark; nothing is wider than the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from soconnective.automation.definition import build
from soconnective.automation.drafts import begin_draft
from soconnective.core.db import write_transaction
from soconnective.core.tenancy import acting_in
from tests.browser.conftest import sign_in
from tests.test_routes import fill, own_rules, url_of
from tests.workspaces import Team

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RUN = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)).slice(0, 3).join(' | '))"


def addresses(app: Flask, team: Team) -> list[str]:
    ids = fill(app, team)
    found = ["/login"]
    for rule in own_rules(app):
        url = url_of(app, rule, ids)
        view = app.view_functions[rule.endpoint]
        if (
            url
            and "GET" in rule.methods
            and view.permission is not None
            and rule.endpoint not in ("dashboard.pick", "automations.export", "saved_views.panel")  # no pages
        ):
            found.append(url)
    found += ["/dashboard/search?q=kanarek", "/dashboard/nowhere", "/dashboard/tasks?view=open", "/dashboard/deals?status=won",
              "/dashboard/contacts?q=zzz", "/dashboard/settings/two-factor", "/dashboard/deals?saved=1&sort=amount&if-1-0-field=amount&if-0-0-field=tag_ids&filter=1",
              "/dashboard/settings/password"]  # fmt: skip
    with (
        app.app_context(),
        acting_in(team.id),
        write_transaction(),
    ):  # a new rule, half done: `create_task` lacks its title
        draft_id = begin_draft(build("Half done", "deal.won", {}, [("create_task", {"title": None})])).id
    found += [f"/dashboard/automations/{draft_id}{page}" for page in ("", "/edit", "/delete")]
    assert len(found) > 45
    return found


# The pages do not depend on the database, so each run opens a page in one look, and the other run in its opposite:
# together each page is seen in light and dark, and on desktop and phone. `--long` opens every page in all four.
LOOKS = [("light", 1400, 900), ("dark", 1400, 900), ("dark", 390, 844), ("light", 390, 844)]


@pytest.mark.parametrize("half", [0, 1])
def test_no_page_has_a_fault(
    app: Flask, team: Team, new_page: Any, watch: Any, request: Any, database_kind: str, half: int
) -> None:
    watch.allow("404")
    pages = addresses(app, team)
    faults = {}
    for place, (theme, width, height) in enumerate(LOOKS):
        if place % 2 != half:
            continue
        mine = (place + 2 * (database_kind == "postgresql")) % 4
        page = new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        sign_in(page, team.owner.email)
        for url in pages if request.config.option.long else pages[mine::4]:
            page.goto(url)
            page.evaluate(AXE)
            found = page.evaluate(RUN)
            over = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if over > 0:
                found.append(f"{over} px wider than the screen")
            if found:
                faults[url, theme, width] = found
    assert faults == {}


def test_axe_finds_a_planted_fault(app: Flask, team: Team, new_page: Any) -> None:
    page = new_page()
    page.goto("/login")
    page.evaluate("document.querySelector('label').remove()")
    page.evaluate(AXE)
    assert any(fault.startswith("label") for fault in page.evaluate(RUN))
