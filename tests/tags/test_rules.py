"""Rules about tags: triggers, actions, conditions; what is gone fails with words; replacing one in every rule."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select, text

from soconnective.automation.definition import build
from soconnective.automation.models import Automation, AutomationRun, AutomationVersion
from soconnective.automation.operations import create_automation, definition_of, set_active
from soconnective.automation.queries import listed
from soconnective.automation.references import replace_reference, rules_naming
from soconnective.automation.undo_run import effects, undo_run
from soconnective.core.conditions import Facts, Group, Now, Test, evaluate, fields_of, where
from soconnective.core.conditions.evaluate import CannotTell
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.events import snapshot
from soconnective.deals.models import Deal, DealTag
from soconnective.deals.operations import delete_deal, update_deal
from soconnective.events import EventRow
from soconnective.tags.operations import delete_tag, update_tag
from tests.core.test_conditions import TODAY
from tests.factories.records import make_company, make_contact, make_deal, make_rule, make_tag, move

NOTE = [("log_note", {"body": "Now {{ deal.tags }}."})]


def runs() -> list[tuple[str, str]]:
    db.session.expire_all()
    return [
        (r.outcome, r.detail) for r in db.session.scalars(select(AutomationRun).order_by(AutomationRun.id))
    ]


def tagging(kind: str, tag_id: int, target: str = "deal") -> tuple[str, dict[str, Any]]:
    return kind, {"target": target, "tag_id": tag_id}


def retag(deal: Deal, *tags: Any) -> None:
    with write_transaction():
        update_deal(deal, tag_ids=[tag.id for tag in tags])


def asking(operator: str, value: Any = None) -> Group:
    return Group(items=[Test(field="tag_ids", operator=operator, value=value)])


# --- triggers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "came", "went"), [("added", "", "A"), ("removed", "A", ""), ("added", "", "AB")]
)
@pytest.mark.parametrize(("meant", "fires"), [(None, True), ("A", True), ("C", False)])
def test_a_rule_fires_for_any_tag_or_for_the_one_meant(
    inside: Any, what: str, came: str, went: str, meant: str | None, fires: bool
) -> None:
    tags = {name: make_tag(name) for name in "ABC"}
    deal = make_deal(inside.stages["Lead"], tag_ids=[tags[name].id for name in came])
    make_rule(f"deal.tag_{what}", NOTE, settings={"tag_id": tags[meant].id if meant else None})
    make_rule("deal.updated", NOTE, "A tag is no change of the deal")
    retag(deal, *(tags[name] for name in went))
    assert [outcome for outcome, _detail in runs()] == ["succeeded" if fires else "not_matched"]
    if not fires:
        checks = db.session.scalars(select(AutomationRun)).one().trace["checks"]
        assert [(c["label"], c["wanted"], c["actual"]) for c in checks] == [
            ("Tag", "C", ", ".join(came or went))
        ]


@pytest.mark.parametrize(
    ("kind", "what", "said"),
    [("deal", "added", "When a deal gets the tag “VIP” → "), ("contact", "removed", "When a contact loses the tag “VIP” → "),
     ("company", "added", "When a company gets the tag “VIP” → ")],
)  # fmt: skip
def test_a_trigger_says_which_tag(inside: Any, kind: str, what: str, said: str) -> None:
    tag = make_tag()
    note = [("log_note", {"body": "x"})]
    rule = make_rule(f"{kind}.tag_{what}", note, settings={"tag_id": tag.id})
    assert definition_of(rule).sentence().startswith(said)
    loose = make_rule(f"{kind}.tag_{what}", note)
    assert (
        definition_of(loose)
        .sentence()
        .startswith(f"When {'a'} {kind} {'gets' if what == 'added' else 'loses'} a tag → ")
    )


def test_a_record_made_with_the_tag_fires_too(inside: Any) -> None:
    tag = make_tag()
    make_rule("contact.tag_added", [("log_note", {"body": "x"})], settings={"tag_id": tag.id})
    make_contact(tag_ids=[tag.id])
    assert [outcome for outcome, _detail in runs()] == ["succeeded"]


# --- actions ----------------------------------------------------------------------------------------


def test_tags_are_put_on_and_taken_off_the_record_and_what_it_points_to(inside: Any) -> None:
    gold, old = make_tag("Gold"), make_tag("Old")
    company, contact = make_company(), make_contact(tag_ids=[old.id])
    steps = [
        tagging("add_tag", gold.id),
        tagging("add_tag", gold.id, "company"),
        tagging("remove_tag", old.id, "contact"),
    ]
    rule = make_rule(steps=steps)
    deal = make_deal(inside.stages["Lead"], company_id=company.id, contact_ids=[contact.id])
    move(deal, inside.stages["Won"])
    assert runs() == [("succeeded", "added the tag Gold; added the tag Gold; removed the tag Old")]
    assert (deal.tag_ids, company.tag_ids, contact.tag_ids) == ([gold.id], [gold.id], [])
    assert definition_of(rule).sentence() == (
        "When a deal is won → add the tag “Gold” to the deal, add the tag “Gold” to the company, "
        "remove the tag “Old” from the contact"
    )
    made = db.session.scalars(select(EventRow).where(EventRow.depth == 1).order_by(EventRow.id)).all()
    assert [row.name for row in made] == ["deal.tag_added", "company.tag_added", "contact.tag_removed"]
    assert all(row.actor_kind == "automation" and row.parent_id for row in made)


def test_what_is_done_already_is_said_and_told_to_nobody(inside: Any) -> None:
    tag = make_tag()
    make_rule(steps=[tagging("add_tag", tag.id), tagging("add_tag", tag.id)])
    make_rule("deal.lost", [tagging("remove_tag", tag.id), tagging("remove_tag", tag.id)], "Lost")
    deal = make_deal(inside.stages["Lead"], tag_ids=[tag.id])
    before = len(list(db.session.scalars(select(EventRow).where(EventRow.name.like("%.tag%")))))
    move(deal, inside.stages["Won"])
    assert len(list(db.session.scalars(select(EventRow).where(EventRow.name.like("%.tag%"))))) == before
    move(deal, inside.stages["Lost"], "price")
    assert [detail for _outcome, detail in runs()] == [
        "had the tag VIP already; had the tag VIP already",
        "removed the tag VIP; did not have the tag VIP",
    ]


def test_a_later_step_sees_the_tag(inside: Any) -> None:
    tag = make_tag()
    steps = [
        tagging("add_tag", tag.id),
        ("if", {"conditions": asking("include", str(tag.id)).model_dump(mode="json")}),
        ("log_note", {"body": "Now {{ deal.tags }}."}),
        ("end_if", {}),
    ]
    make_rule(steps=steps)
    move(make_deal(inside.stages["Lead"]), inside.stages["Won"])
    assert db.session.execute(text("SELECT body FROM notes")).scalar_one() == "Now VIP."


WRONG = [
    ("add_tag", {"target": "task", "tag_id": "own"}, "target"), ("add_tag", {"target": "user", "tag_id": "own"}, "target"),
    ("add_tag", {"target": "deal", "tag_id": 2**40}, "tag_id"), ("remove_tag", {"target": "deal", "tag_id": "theirs"}, "tag_id"),
    ("add_tag", {"target": "deal"}, ""), ("add_tag", {"target": "deal", "tag_id": -1}, ""),
    ("add_tag", {"target": "deal", "tag_id": "own", "extra": 1}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "settings", "where_"), WRONG)
def test_what_makes_no_sense_is_refused_beside_its_field(
    inside: Any, rivals: Any, kind: str, settings: dict[str, Any], where_: str
) -> None:
    with acting_in(rivals.id):
        make_tag("Pad")
        ids = {"theirs": make_tag("Theirs").id}
        db.session.commit()
    ids["own"] = make_tag("Own").id
    stored = {name: ids.get(str(value), value) for name, value in settings.items()}
    with pytest.raises(Refused) as refused:
        make_rule(steps=[(kind, stored)])
    assert refused.value.field == (f"steps-0-{where_}" if where_ else "steps-0")
    assert "Theirs" not in refused.value.message


def test_a_deleted_record_gets_no_tag(inside: Any) -> None:
    tag = make_tag()
    with pytest.raises(Refused, match="deleted cannot be changed"):
        make_rule("deal.deleted", [tagging("add_tag", tag.id)])


def test_two_rules_that_tag_each_others_records_end(inside: Any) -> None:
    one, two = make_tag("One"), make_tag("Two")
    for here, there in ((one, two), (two, one)):
        make_rule(
            "deal.tag_added",
            [tagging("add_tag", there.id), tagging("remove_tag", here.id)],
            here.name,
            {"tag_id": here.id},
        )
    deal = make_deal(inside.stages["Lead"])
    retag(deal, one)
    assert "succeeded" in {outcome for outcome, _detail in runs()} and len(deal.tags) == 1
    assert len(runs()) < 20


def test_a_step_that_fails_takes_its_tag_along_and_not_the_save(inside: Any) -> None:
    tag = make_tag()
    make_rule(
        steps=[
            tagging("add_tag", tag.id),
            ("change_field", {"target": "company", "field": "name", "value": "x"}),
        ]
    )
    deal = make_deal(inside.stages["Lead"])
    move(deal, inside.stages["Won"])
    assert runs() == [("failed", "step 2 failed: The deal has no company.")]
    assert deal.status == "won" and deal.tags == []
    assert db.session.scalars(select(EventRow).where(EventRow.name == "deal.tag_added")).all() == []


def test_a_link_that_the_database_refuses_stays_inside_the_fence(inside: Any) -> None:
    """The fault comes at the flush, from below: the rule alone fails, and says which step."""
    tag = make_tag()
    make_rule(steps=[("log_note", {"body": "x"}), tagging("add_tag", tag.id)])

    def broken(_mapper: Any, connection: Any, _row: Any) -> None:
        connection.execute(text("INSERT INTO tags (id) VALUES (1)"))

    deal = make_deal(inside.stages["Lead"])
    event.listen(DealTag, "before_insert", broken)
    try:
        move(deal, inside.stages["Won"])
    finally:
        event.remove(DealTag, "before_insert", broken)
    ((outcome, detail),) = runs()
    assert outcome == "failed" and detail.startswith("step 2 failed")
    assert deal.status == "won" and deal.tags == []


def undone(run: AutomationRun) -> list[str]:
    """What could be undone of the run (""), or why not."""
    found = [effect.why_not for effect in effects(run)]
    if "" in found:
        with write_transaction():
            undo_run(run)
    return found


def last_run() -> AutomationRun:
    return (
        db.session.scalars(select(AutomationRun).order_by(AutomationRun.id.desc())).first() or AutomationRun()
    )


def test_a_run_that_changed_tags_is_undone(inside: Any) -> None:
    new, old, other = make_tag("New"), make_tag("Old"), make_tag("Other")
    source = ("change_field", {"target": "deal", "field": "source", "value": "Fair"})
    make_rule(steps=[tagging("add_tag", new.id), tagging("remove_tag", old.id), source])
    deal = make_deal(inside.stages["Lead"], tag_ids=[old.id], source="Web")
    move(deal, inside.stages["Won"])
    retag(deal, new, other)  # what somebody else added since stays
    assert undone(last_run()) == [""]  # told by three events, it is one change
    assert (deal.tag_ids, deal.source) == ([old.id, other.id], "Web")


@pytest.mark.parametrize("what", ["taken off again", "put on again", "gone"])
def test_tags_that_were_touched_since_stay_and_say_why(inside: Any, what: str) -> None:
    new, old = make_tag("New"), make_tag("Old")
    make_rule(steps=[tagging("add_tag", new.id), tagging("remove_tag", old.id)])
    deal = make_deal(inside.stages["Lead"], tag_ids=[old.id])
    move(deal, inside.stages["Won"])
    if what == "gone":
        with write_transaction():
            delete_tag(old)
    else:
        retag(deal, *([] if what == "taken off again" else [new, old]))
    kept = deal.tag_ids
    why = "what was taken off does not exist any more" if what == "gone" else "it was changed since"
    assert undone(last_run()) == [why] and deal.tag_ids == kept


# --- conditions -------------------------------------------------------------------------------------

ASKED = [
    ("include", "A", "AB", True), ("include", "A", "B", False), ("include", "A", "", False),
    ("include_not", "A", "B", True), ("include_not", "A", "", True), ("include_not", "A", "A", False),
    ("include_any", "AC", "AB", True), ("include_any", "AC", "B", False), ("include_any", "AC", "", False),
    ("include_none", "AC", "B", True), ("include_none", "AC", "", True), ("include_none", "AC", "C", False),
    ("are_empty", "", "", True), ("are_empty", "", "A", False), ("are_not_empty", "", "A", True),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "wanted", "there", "holds"), ASKED)
def test_both_back_ends_say_the_same(
    inside: Any, operator: str, wanted: str, there: str, holds: bool
) -> None:
    ids = {name: str(make_tag(name).id) for name in "ABC"}
    deal = make_deal(inside.stages["Lead"], tag_ids=[int(ids[name]) for name in there])
    value: Any = (
        [ids[name] for name in wanted] if operator in ("include_any", "include_none") else ids.get(wanted)
    )
    tree, known, now = asking(operator, value), fields_of("deal"), Now(TODAY, "UTC")
    assert evaluate(tree, known, Facts(snapshot(deal), now))[0] is holds
    assert (list(db.session.scalars(select(Deal.id).where(where(tree, known, now)))) == [deal.id]) is holds


def test_a_change_can_be_asked_for(inside: Any) -> None:
    tags = {name: make_tag(name) for name in "ABC"}
    for operator in ("gained", "lost"):
        make_with(
            asking(operator, str(tags["A"].id)),
            "deal.tag_added" if operator == "gained" else "deal.tag_removed",
        )
    deal = make_deal(inside.stages["Lead"])
    retag(deal, tags["A"])
    retag(deal, tags["A"], tags["B"])
    retag(deal, tags["B"])
    retag(deal)
    assert runs() == [
        ("succeeded", "note logged"),
        ("not_matched", "tags gained A, was gained B"),
        ("succeeded", "note logged"),
        ("not_matched", "tags lost A, was lost B"),
    ]


def make_with(conditions: Group, trigger: str = "deal.won", steps: Any = NOTE) -> Automation:
    with write_transaction():
        return create_automation(
            build("Asks", trigger, {}, steps, "undo", conditions.model_dump(mode="json")), True
        )


def test_a_condition_is_said_and_explained(inside: Any) -> None:
    vip, gold = make_tag("VIP"), make_tag("Gold")
    rule = make_with(asking("include_any", [str(vip.id), str(gold.id)]))
    assert (
        definition_of(rule).sentence().startswith("When a deal is won, if tags include any of VIP or Gold → ")
    )
    move(make_deal(inside.stages["Lead"], tag_ids=[make_tag("Old").id]), inside.stages["Won"])
    assert runs() == [("not_matched", "tags include any of VIP or Gold, was Old")]


def test_a_deleted_record_is_asked_for_the_tags_it_had(inside: Any) -> None:
    tag = make_tag()
    make_with(
        asking("include", str(tag.id)), "deal.deleted", [("create_task", {"title": "Ask", "due_in_days": 0})]
    )
    deal = make_deal(inside.stages["Lead"], tag_ids=[tag.id])
    with write_transaction():
        delete_deal(deal)
    assert runs()[-1][0] == "succeeded", runs()


# --- what is gone -----------------------------------------------------------------------------------


def rules_about(tag_id: int) -> list[Automation]:
    """One rule for each way in which a rule can name a tag."""
    other = str(make_tag("Other").id)
    branch = Group(
        match="any",
        items=[asking("include_any", sorted([str(tag_id), other])), Test(field="amount", operator="empty")],
    )
    return [
        make_rule("deal.tag_added", NOTE, "By trigger", {"tag_id": tag_id}),
        make_rule(steps=[tagging("add_tag", tag_id)], name="By step"),
        make_with(asking("include", str(tag_id))),
        make_rule(steps=[("if", {"conditions": branch.model_dump(mode="json", exclude_none=True)}), *NOTE, ("end_if", {})], name="By branch"),
    ]  # fmt: skip


def test_a_rule_that_names_a_tag_that_is_gone_is_marked_and_fails_with_words(inside: Any) -> None:
    tag = make_tag()
    rules = rules_about(tag.id)
    with write_transaction():
        delete_tag(tag)
    assert [one.problem is not None for one in listed()] == [True] * 4
    assert all("⚠" in definition_of(rule).sentence() for rule in rules)
    for rule in rules:
        with pytest.raises(Refused), write_transaction():
            set_active(rule, True)
    deal = make_deal(inside.stages["Lead"], amount="5", tag_ids=[make_tag("Fresh").id])
    move(deal, inside.stages["Won"])
    assert {outcome for outcome, _detail in runs()} == {"failed"} and deal.status == "won"
    told = " ".join(detail for _outcome, detail in runs())
    assert "The tag that the rule looks for does not exist any more" in told
    assert "step 1 failed: The tag is gone" in told and "names a tag that does not exist any more" in told


def test_the_sql_side_refuses_a_tag_that_is_gone_too(inside: Any) -> None:
    for operator, value in (("include", "999"), ("include_not", "999"), ("include_none", ["999"])):
        with pytest.raises(CannotTell, match="does not exist any more"):
            where(asking(operator, value), fields_of("deal"), Now(TODAY, "UTC"))


def naming(tag_id: int) -> list[Any]:
    return [found.rule for found in rules_naming("tag", tag_id)]


def test_every_rule_that_names_it_is_found_and_names_the_other_one_instead(inside: Any) -> None:
    tag, new = make_tag("Old"), make_tag("New")
    rules = rules_about(tag.id)
    make_rule(name="Names none")
    assert naming(tag.id) == rules
    with write_transaction():
        assert len(replace_reference("tag", tag.id, new.id)) == 4
        delete_tag(tag, new)
    assert naming(tag.id) == [] and naming(new.id) == rules
    assert all(one.problem is None for one in listed())
    assert all("⚠" not in definition_of(rule).sentence() for rule in rules)
    assert {rule.definition_number for rule in rules} == {2}
    versions = db.session.scalars(
        select(AutomationVersion).where(AutomationVersion.automation_id == rules[1].id)
    )
    assert [version.sentence.split("→ ")[1] for version in versions.all()] == [
        "add the tag “Old” to the deal",
        "add the tag “New” to the deal",
    ]


def test_a_renamed_tag_stays_the_one_that_rules_mean(inside: Any) -> None:
    tag = make_tag("VIP")
    rule = make_rule("deal.tag_added", NOTE, settings={"tag_id": tag.id})
    with write_transaction():
        update_tag(tag, "Gold", "green")
    assert "gets the tag “Gold”" in definition_of(rule).sentence()
    make_deal(inside.stages["Lead"], tag_ids=[tag.id])
    assert runs() == [("succeeded", "note logged")]
