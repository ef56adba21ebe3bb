"""A stage or pipeline that rules name: the rules are shown, a replacement is asked for, and they get new versions."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationVersion
from soconnective.automation.operations import create_automation, definition_of, delete_automation
from soconnective.automation.plan import export_rules, plan
from soconnective.automation.queries import recent_runs
from soconnective.automation.references import replace_reference, replaced, rules_naming
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, Pipeline, Stage
from soconnective.deals.pipeline_operations import create_pipeline, replace_stage
from tests.factories.records import make_deal, make_rule, move

HOME = "/dashboard/settings/pipelines"
NOTE = ("log_note", {"body": "x"})


def asks(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {
        "match": "all",
        "items": [{"match": "any", "items": [{"field": field, "operator": operator, "value": value}]}],
    }


PLACES: list[tuple[Any, list[str]]] = [
    (lambda t, s: build("R", "deal.stage_changed", {"to_stage_id": s}, [NOTE]), ["in its trigger"]),
    (lambda t, s: build("R", "deal.stage_changed", {"from_stage_id": s}, [NOTE]), ["in its trigger"]),
    (lambda t, s: build("R", "deal.won", {}, [NOTE], conditions=asks("stage_id", "is", str(s))), ["in its conditions"]),
    (lambda t, s: build("R", "deal.won", {}, [NOTE], conditions=asks("stage_id", "one_of", [str(s), str(t.stages["Won"])])), ["in its conditions"]),
    (lambda t, s: build("R", "deal.updated", {}, [NOTE, ("move_stage", {"stage_id": s})]), ["in step 2"]),
    (lambda t, s: build("R", "contact.created", {}, [("create_deal", {"title": "x", "stage_id": s})]), ["in step 1"]),
    (lambda t, s: build("R", "deal.won", {}, [("if", {"conditions": asks("stage_id", "is_not", str(s))}), NOTE, ("end_if", {})]), ["in step 1"]),
    (lambda t, s: build("R", "deal.won", {}, [NOTE], conditions=asks("pipeline_id", "is", str(s))), []),
    (lambda t, s: build("R", "deal.won", {}, [NOTE], conditions=asks("amount", "is", str(s))), []),
    (lambda t, s: build("R", "deal.stage_changed", {"to_stage_id": t.stages["Lead"]}, [NOTE]), []),
    (lambda t, s: build("R", "deal.exploded", {"stage_id": s}, [NOTE]), []),
]  # fmt: skip


@pytest.mark.parametrize(("make", "places"), PLACES)
def test_where_rules_name_a_stage_and_its_replacement(inside: Any, make: Any, places: list[str]) -> None:
    old, new = inside.stages["Proposal"], inside.stages["Negotiation"]
    definition = make(inside, old)
    fresh = replaced(definition, "stage", old, new)
    if places:
        assert fresh.to_text() == make(inside, new).to_text() != definition.to_text()
        with write_transaction():
            create_automation(definition)
        assert [naming.places for naming in rules_naming("stage", old)] == [places]
        assert rules_naming("stage", new) == [] and rules_naming("person", old) == []
    else:
        assert fresh == definition


def test_what_is_switched_off_stays_so_when_it_names_another_stage(inside: Any) -> None:
    lead, won = inside.stages["Lead"], inside.stages["Won"]
    asked = {"conditions": {"match": "all", "items": [asks("stage_id", "is", str(lead))]}}
    steps = [
        ("move_stage", {"stage_id": lead}, {"off": True, "note": "not yet"}),
        ("if", asked, {"off": True}),
        ("end_if", {}),
        ("log_note", {"body": "x"}),
    ]
    fresh = replaced(build("A", "deal.won", {}, steps), "stage", lead, won)
    assert [(s.is_off, s.note) for s in fresh.steps] == [
        (True, "not yet"),
        (True, ""),
        (False, ""),
        (False, ""),
    ]
    assert fresh.steps[0].settings.stage_id == won


def test_a_replacement_that_is_there_already_stands_once(inside: Any) -> None:
    old, new = inside.stages["Proposal"], inside.stages["Lead"]
    definition = build(
        "R", "deal.won", {}, [NOTE], conditions=asks("stage_id", "one_of", [str(new), str(old)])
    )
    fresh = replaced(definition, "stage", old, new)
    assert fresh.conditions.tree.items[0].items[0].value == [str(new)]  # type: ignore[union-attr]


def test_examples_name_the_other_stage_too(inside: Any) -> None:
    old, new = inside.stages["Proposal"], inside.stages["Negotiation"]
    rule = make_rule("deal.stage_changed", [NOTE], settings={"to_stage_id": old})
    with write_transaction():
        rule.examples = [
            {"runs": True, "record": {"amount": str(old)}, "changes": {"stage_id": ["1", str(old)]}}
        ]
    with write_transaction():
        replace_stage(db.session.get_one(Stage, old), db.session.get_one(Stage, new))
    assert rule.examples == [
        {"runs": True, "record": {"amount": str(old)}, "changes": {"stage_id": ["1", str(new)]}}
    ]
    made = plan(export_rules().text)
    assert not made.has_changes and not made.failed


def test_persons_are_found_in_settings_and_conditions(inside: Any) -> None:
    person, other = inside.member.id, inside.owner.id
    give = ("assign_owner", {"target": "deal", "person_ids": [other, person]})
    with write_transaction():
        create_automation(
            build("R", "deal.won", {}, [NOTE, give], conditions=asks("owner_id", "is", str(person)))
        )
    assert [naming.places for naming in rules_naming("person", person)] == [
        ["in its conditions", "in step 2"]
    ]
    with write_transaction():
        assert len(replace_reference("person", person, inside.admin.id)) == 1
    assert rules_naming("person", person) == [] and len(rules_naming("person", other)) == 1


def test_a_stage_that_rules_name_asks_for_its_replacement_and_they_go_on(inside: Any) -> None:
    rule = make_rule("deal.stage_changed", [NOTE], settings={"to_stage_id": inside.stages["Proposal"]})
    gone = make_rule(
        "deal.stage_changed", [NOTE], settings={"to_stage_id": inside.stages["Proposal"]}, name="Deleted"
    )
    with write_transaction():
        delete_automation(gone)
    proposal, negotiation = (
        db.session.get_one(Stage, inside.stages[name]) for name in ("Proposal", "Negotiation")
    )
    with pytest.raises(Refused, match="One rule names it") as refused, write_transaction():
        replace_stage(proposal, None)
    assert refused.value.field == "replacement_id"
    assert db.session.get(Stage, inside.stages["Proposal"]) is not None
    deal = make_deal(inside.stages["Lead"])
    with write_transaction():
        assert replace_stage(proposal, negotiation) == [rule]
    assert definition_of(rule).problems() == [] and definition_of(rule).sentence().startswith(
        "When a deal moves to Negotiation"
    )
    versions = db.session.scalars(
        select(AutomationVersion.number).where(AutomationVersion.automation_id == rule.id)
    ).all()
    assert sorted(versions) == [1, 2] and rule.definition_number == 2
    move(deal, negotiation.id)
    assert [run.outcome for run in recent_runs(10, rule.id)] == ["succeeded"]


@pytest.fixture
def named(app: Flask, team: Any) -> dict[str, int]:
    """A rule from Lead to Proposal, one about another pipeline, and that pipeline."""
    with app.app_context(), acting_in(team.id):
        between = {"from_stage_id": team.stages["Lead"], "to_stage_id": team.stages["Proposal"]}
        rule = make_rule("deal.stage_changed", [NOTE], settings=between, name="Between")
        with write_transaction():
            other = create_pipeline("Renewals")
            won = next(stage for stage in other.stages if stage.kind == "won")
            about = asks("pipeline_id", "is", str(other.id))
            second = create_automation(
                build("Renewed", "deal.stage_changed", {"to_stage_id": won.id}, [NOTE], conditions=about)
            )
        ids = {"between": rule.id, "renewed": second.id, "pipeline": other.id}
        db.session.rollback()
    return ids


def test_the_page_shows_the_rules_with_links(
    app: Flask, team: Any, owner: FlaskClient, named: dict[str, int], version: Any
) -> None:
    page = f"{HOME}/stages/{team.stages['Proposal']}/replace"
    shown = owner.get(page).text
    assert f'href="/dashboard/automations/{named["between"]}"' in shown and "in its trigger" in shown
    assert f'href="/dashboard/automations/{named["renewed"]}"' not in shown
    refused = owner.post(page, data={"version": version(owner, page)})
    assert refused.status_code == 422 and "One rule names it. Choose the stage" in refused.text
    assert "they go on with its new name" in owner.get(f"{HOME}/stages/{team.stages['Proposal']}").text
    sent = {"version": version(owner, page), "replacement_id": team.stages["Negotiation"]}
    done = owner.post(page, data=sent, follow_redirects=True).text
    assert "Rules that name the other stage now: “Between”" in done and "Look at the rule" not in done


def test_a_rule_that_makes_no_sense_afterwards_is_named(
    app: Flask, team: Any, owner: FlaskClient, named: dict[str, int], version: Any
) -> None:
    page = f"{HOME}/stages/{team.stages['Proposal']}/replace"
    sent = {"version": version(owner, page), "replacement_id": team.stages["Lead"]}
    done = owner.post(page, data=sent, follow_redirects=True).text
    assert "Look at the rule “Between”: A deal cannot move from a stage to the same stage." in done
    assert "A deal cannot move from a stage to the same stage." in owner.get("/dashboard/automations").text


def test_a_pipeline_that_rules_name(
    app: Flask, team: Any, owner: FlaskClient, named: dict[str, int], version: Any
) -> None:
    page = f"{HOME}/{named['pipeline']}/delete"
    shown = owner.get(page).text
    assert f'href="/dashboard/automations/{named["renewed"]}"' in shown and 'name="replacement_id"' in shown
    assert "they go on with its new name" in owner.get(f"{HOME}/{named['pipeline']}/edit").text
    refused = owner.post(page, data={"version": version(owner, page)})
    assert refused.status_code == 422 and "One rule names it. Choose the stage" in refused.text
    sent = {"version": version(owner, page), "replacement_id": team.stages["Won"]}
    assert owner.post(page, data=sent).status_code == 302
    with app.app_context(), acting_in(team.id):
        rule = db.session.get_one(Automation, named["renewed"])
        assert (
            db.session.get(Pipeline, named["pipeline"]) is None
            and db.session.scalars(select(Deal)).all() == []
        )
        assert definition_of(rule).problems() == []
        assert (
            definition_of(rule).sentence() == "When a deal moves to Won, if pipeline is Sales → log note “x”"
        )
        db.session.rollback()


def test_nothing_changes_when_the_deletion_is_refused(
    app: Flask, team: Any, owner: FlaskClient, named: dict[str, int], version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        stage = db.session.scalars(select(Stage.id).where(Stage.pipeline_id == named["pipeline"])).first()
        make_deal(stage)
        db.session.rollback()
    page = f"{HOME}/{named['pipeline']}/delete"
    sent = {"version": version(owner, page), "replacement_id": team.stages["Won"]}
    refused = owner.post(page, data=sent)
    assert refused.status_code == 422 and "still holds deals" in refused.text
    with app.app_context(), acting_in(team.id):
        assert db.session.get_one(Automation, named["renewed"]).definition_number == 1
        db.session.rollback()
