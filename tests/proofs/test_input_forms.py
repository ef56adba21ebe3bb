"""Proof 7, input: whatever is posted to a form, nothing breaks, and a refusal writes nothing.

The forms are read from the app's own pages; each post changes some of their fields to what people, tools
and attackers send. Another tenant's rows and one's own role and identity stay as they are.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, text

from soconnective.automation.definition import build
from soconnective.automation.drafts import save_draft
from soconnective.automation.models import AutomationRun
from soconnective.automation.operations import delete_automation, update_automation
from soconnective.automation.registry import action_types, trigger_types
from soconnective.core import once
from soconnective.core.access import may
from soconnective.core.db import commit, db, write_transaction
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal
from soconnective.deals.operations import update_deal
from tests.databases import owner_engine
from tests.factories.records import make_rule
from tests.proofs.digests import changed, digest_of
from tests.proofs.pages import PageForm, forms_of
from tests.test_routes import OPEN, fill, own_rules, url_of

NAME = "7 Input"
LEFT_OUT = re.compile(r"/logout$|/switch$|/password$|/two-factor|/demo$")
NUMBERS = [
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "1e400",
    "NaN",
    "Infinity",
    "-0",
    "0x10",
    "1,5",
    "1.5.5",
    "²",
    "٣",
    "1_000",
    " 7 ",
    "+3",
]
DATES = [
    "2026-02-30",
    "0000-00-00",
    "10000-01-01",
    "0001-01-01",
    "9999-12-31T23:59",
    "2026-13-01",
    "tomorrow",
    "2026-11-23T25:00",
    "1969-12-31",
]
TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "￿", "\u202eevil", "\u200b", "ü" * 300, "x" * 100_000, "𝕏" * 5_000, "\r\n\r\n", "\x1b[31m",
    "'; DROP TABLE deals; --", '" OR 1=1 --', "%27", "<script>alert(1)</script>", "{{ 7*7 }}", "{% for x in (1..9) %}", "${7*7}", "../../etc/passwd",
    "=cmd|' /C calc'!A0", "http://127.0.0.1/", "javascript:alert(1)", "null", "None", "undefined", "true", "[]", "{}", "%s%s%s", "%00", "\\", "/", "?&=",
]  # fmt: skip
COLUMNS = [
    "id", "tenant_id", "role", "owner_id", "password", "created_at", "updated_at", "version", "created_by_id", "created_by_kind", "status", "active",
    "is_demo", "email", "fs_uniquifier", "deleted_at", "is_active", "position", "definition_number", "closed_at", "search_words", "csrf_token", "workspace",
]  # fmt: skip
CRAFTED = ["steps-99999-kind", "steps--1-kind", "steps-x-kind", "steps-0-", "steps-0-kind-0-kind", "identities-99999-value", "identities-0-kind", "contact_ids", "op", "form_key", "q", "__class__", "a" * 300]  # fmt: skip


# forms of rules that stand on no page of a workspace in which all is well
RARE = {
    "press",
    "resume",
    "again",
    "cancel",
    "undo",
    "publish",
    "discard",
    "restore",
    "pick",
    "seen",
    "test",
    "backtest",
    "apply",
    "import",
    "hours",
    "filter",
}


def make_rare(team: Any, deal_id: int) -> list[str]:
    """Rules and runs in all their states; the pages where their forms stand."""
    with acting_in(team.id):
        hand = make_rule("deal.picked_by_hand", name="By hand")
        old, gone = make_rule(name="Old", is_active=False), make_rule(name="Gone", is_active=False)
        make_rule(
            "deal.updated", [("create_task", {"title": "{{ deal.source }}", "due_in_days": 1})], "Fails"
        )
        make_rule("deal.updated", [("wait", {"mode": "time"}), ("log_note", {"body": "x"})], "Waits")
        other = build("Old", "deal.lost", {}, [("log_note", {"body": "x"})])
        with write_transaction():
            update_automation(old, other)
            save_draft(old, other)
            delete_automation(gone)
            update_deal(db.session.get_one(Deal, deal_id), amount="7")
        runs = [f"runs/{run_id}" for run_id in db.session.scalars(select(AutomationRun.id))]
        rules = [str(hand.id), str(old.id), f"{old.id}/versions", str(gone.id), f"{old.id}/edit"]
        db.session.rollback()
    pages = [f"/dashboard/automations/{page}" for page in ["", "runs", *runs, *rules]]
    return [
        *pages,
        f"/dashboard/deals/{deal_id}",
        "/dashboard/deals",
        f"/dashboard/automations/pick?type=deal&ids={deal_id}",
    ]


class Flood:
    """A person who posts anything to every form there is."""

    def __init__(self, app: Flask, team: Any, client: Any, seed: int) -> None:
        self.app, self.client, self.chance = app, client, random.Random(seed)
        self.team, self.reader = team, owner_engine(app)
        self.commits = 0
        self.problems: list[str] = []
        self.refused = self.accepted = 0
        self.forms = self._forms(fill(app, team))
        with app.app_context():
            event.listen(db.engine, "commit", self._on_commit)
        once.log.addFilter(self._on_trouble)

    def _on_trouble(self, record: logging.LogRecord) -> bool:
        """An answer that could not be kept: the request had waited for a lock that it held itself."""
        self.problems.append(record.getMessage())
        return False

    def close(self) -> None:
        once.log.removeFilter(self._on_trouble)
        with self.app.app_context():
            event.remove(db.engine, "commit", self._on_commit)
        self.reader.dispose()

    def _on_commit(self, _connection: Any) -> None:
        self.commits += 1

    def _forms(self, ids: dict[str, int]) -> list[PageForm]:
        found: dict[tuple[str, ...], PageForm] = {}
        for rule in own_rules(self.app):
            page = url_of(self.app, rule, ids)
            if (
                page is None
                or "GET" not in rule.methods
                or rule.endpoint in OPEN
                or rule.endpoint == "dashboard.pick"
            ):
                continue
            for form in forms_of(self.client.get(page).text, page):
                path = form.action.split("?")[0]
                if not LEFT_OUT.search(path) and not path.endswith(("/delete", "/remove")):
                    found[path, *sorted({name for name, _ in form.fields})] = form
        with self.app.app_context():
            rare = make_rare(self.team, ids["deal_id"])
        rare.append(
            f"/dashboard/deals?saved={ids['view_id']}&sort=amount"
        )  # a view that is asked something else
        for page in rare:
            for form in forms_of(self.client.get(page).text, page):
                path = form.action.split("?")[0]
                if path.startswith(("/dashboard/automations/", "/dashboard/views/")) and not path.endswith(
                    "/delete"
                ):
                    found[path, *sorted({name for name, _ in form.fields})] = form
        for form in self._builders(ids):
            found["builder", *sorted({name for name, _ in form.fields})] = form
        assert len(found) > 50
        return list(found.values())

    def _builders(self, ids: dict[str, int]) -> Iterator[PageForm]:
        """The rule builder with each action in turn, with conditions, and with each trigger that asks something else."""
        page = "/dashboard/automations/new"
        asks = {
            tuple(cls.Settings.model_fields): name for name, cls in trigger_types().items() if cls.is_offered
        }
        ops = [*(f"add:{kind}" for kind in action_types()), "if:add"]
        said = [*({"op": op} for op in ops), *({"op": "redraw", "trigger": name} for name in asks.values())]
        for more in said:
            builder = next(
                f for f in forms_of(self.client.get(page).text, page) if "trigger" in dict(f.fields)
            )
            html = self.client.post(page, data=builder.data(form_key="", **more)).text
            yield next(f for f in forms_of(html, page) if "trigger" in dict(f.fields))

    def value(self, name: str) -> str:
        if self.chance.random() < 0.15:
            return str(self.chance.choice([2**31, 2**63, 2**64, -5, 700_000]))
        if re.search(r"_on|_at|date", name) and self.chance.random() < 0.6:
            return self.chance.choice(DATES)
        return self.chance.choice(self.chance.choice([NUMBERS, TEXTS, TEXTS, DATES]))

    def body(self, form: PageForm) -> dict[str, Any]:
        data = form.data(form_key="")
        if form.action.endswith("/automations/new") and self.chance.random() < 0.3:
            data["op"] = ["draft"]
        names = [*data, *self.chance.sample(COLUMNS, 2), self.chance.choice(CRAFTED)]
        for name in self.chance.sample(names, min(len(names), self.chance.randint(1, 5))):
            doing = self.chance.random()
            if doing < 0.1:
                data.pop(name, None)
            elif doing < 0.2:
                data[name] = [self.value(name), self.value(name)]
            else:
                data[name] = [self.value(name)]
        return data

    def post(self, form: PageForm) -> None:
        data = {
            name: [self._sendable(v) for v in values] if isinstance(values, list) else values
            for name, values in self.body(form).items()
        }
        before = self.commits
        try:
            status = self.client.post(form.action, data=data).status_code
        except Exception as error:
            self.problems.append(f"{form.action} broke: {error!r}"[:400] + f" {str(data)[:300]}")
            return
        if status >= 500:
            self.problems.append(f"{form.action}: {status} {str(data)[:300]}")
        elif status >= 400:
            self.refused += 1
            if self.commits != before:
                self.problems.append(f"{form.action}: {status}, and something was saved {str(data)[:300]}")
        else:
            self.accepted += 1

    @staticmethod
    def _sendable(value: str) -> bytes | str:
        """Half a surrogate cannot be sent as UTF-8; a careless program sends its bytes all the same."""
        return value.encode("utf-8", "surrogatepass") if "\ud800" in value else value

    def who_is_who(self) -> list[Any]:
        """What no form but those of members may change: people, roles, and whose rows are whose."""
        with self.reader.connect() as connection:
            return [
                *connection.execute(
                    text("SELECT id, tenant_id, user_id, role, status FROM memberships ORDER BY id")
                ).all(),
                *connection.execute(
                    text("SELECT id, email, password, active, fs_uniquifier FROM users ORDER BY id")
                ).all(),
                *connection.execute(text("SELECT id, is_demo FROM tenants ORDER BY id")).all(),
            ]


@pytest.mark.proof(NAME)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_posted_nothing_breaks(
    app: Flask, team: Any, rivals: Any, owner: Any, proof: Any, database_kind: str, seed: int
) -> None:
    """In the short form each database gets its half of the 5,000 posts; in the long one each gets 50,000."""
    if not proof.is_long:
        seed += 2 * (database_kind == "postgresql")
    fill(app, rivals, "Zebra")
    made = Flood(app, team, owner, seed)
    assert {form.action.split("?")[0].rpartition("/")[2] for form in made.forms} >= RARE
    theirs, people = digest_of(made.reader, rivals.id), made.who_is_who()
    number = proof.scale(1_250, 25_000)
    for place in range(number):
        made.post(made.forms[place % len(made.forms)])
    if tables := changed(theirs, digest_of(made.reader, rivals.id)):
        made.problems.append(f"another tenant's {tables} changed")
    after = made.who_is_who()
    roles = {row for row in after if row in people}
    if len(roles) < len(people) - 1:  # a member's role is changed by the form for it, and by no other
        made.problems.append(f"people changed: {set(people) - roles}")
    made.close()
    proof.cases, proof.found = made.refused + made.accepted, len(made.problems)
    assert not made.problems, f"{len(made.problems)}:\n" + "\n".join(made.problems[:10])
    assert made.refused > number / 10 and made.accepted > number / 50  # versions grow stale


@pytest.mark.control(NAME)
def test_forms_with_planted_defects_are_found(app: Flask, team: Any, sign_in: Any) -> None:
    """One that breaks on a NUL, and one that saves before it refuses."""

    @may("records.edit")
    def careless() -> Any:
        from flask import request

        if "\x00" in request.form.get("title", ""):
            raise ValueError("embedded null")
        deal = db.session.query(Deal).first()
        deal.source = str(random.random())[:20]
        commit()
        return "no", 422

    app.add_url_rule("/dashboard/careless", "deals.careless", careless, methods=["POST"])
    made = Flood(app, team, sign_in(team.owner), 5)
    form = PageForm("/dashboard/careless", [("title", "x"), ("amount", "1")])
    for _ in range(200):
        made.post(form)
    made.close()
    told = "\n".join(made.problems)
    assert "embedded null" in told and "something was saved" in told
