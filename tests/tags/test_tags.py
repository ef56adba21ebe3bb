"""Tags: one of a kind, on records through their rows, renamed without a word, deleted with or without replacement."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from soconnective.contacts.models import ContactTag
from soconnective.contacts.operations import delete_contact, update_company, update_contact
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Deal, DealTag
from soconnective.deals.operations import update_deal
from soconnective.events import EventRow
from soconnective.tags.models import Tag
from soconnective.tags.operations import (
    MOST_ON_RECORD,
    MOST_TAGS,
    add_tag,
    create_tag,
    delete_tag,
    remove_tag,
    update_tag,
)
from soconnective.tags.queries import every_tag, tag_names
from tests.factories.records import make_company, make_contact, make_deal, make_tag


def told() -> list[tuple[str, Any, Any]]:
    """Name, change and tags of every event, oldest first."""
    rows = db.session.scalars(select(EventRow).order_by(EventRow.id)).all()
    changes = [[sorted(ids) for ids in row.changes.get("tag_ids", [])] or None for row in rows]
    return [(row.name, both, row.snapshot.get("tags")) for row, both in zip(rows, changes, strict=True)]


@pytest.mark.parametrize("name", ["VIP", " vip ", "Vip", "vIP\t"])
def test_a_name_is_there_once_however_it_is_written(inside: Any, name: str) -> None:
    make_tag("VIP")
    with pytest.raises(Refused, match="There is a tag VIP already") as refused, write_transaction():
        create_tag(name)
    assert refused.value.field == "name"


def test_accents_and_other_scripts_are_folded_too(inside: Any) -> None:
    make_tag("Straße  Süd")
    assert next(iter(every_tag().values())).name == "Straße Süd"
    for name in ("STRASSE SÜD", "straße su\u0308d"):
        with pytest.raises(Refused), write_transaction():
            create_tag(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "Give the tag a name"), ("   ", "Give the tag a name"), ("x" * 41, "40 characters at most"),
     ("a,b", "without commas"), ("a\x00b", "plain text"), ("a\u202eb", "plain text"), ("\ud800", "plain text")],
)  # fmt: skip
def test_a_name_that_makes_no_sense_is_refused(inside: Any, name: str, message: str) -> None:
    with pytest.raises(Refused, match=message), write_transaction():
        create_tag(name)
    assert every_tag() == {}


def test_a_tag_is_put_on_once_and_taken_off_once(inside: Any) -> None:
    tag, deal = make_tag(), make_deal(inside.stages["Lead"])
    with write_transaction():
        assert (add_tag(deal, tag), add_tag(deal, tag)) == (True, False)
    assert [t.name for t in deal.tags] == ["VIP"] and deal.tag_ids == [tag.id]
    with write_transaction():
        assert (remove_tag(deal, tag), remove_tag(deal, tag)) == (True, False)
    assert deal.tags == [] and told()[1:] == [
        ("deal.tag_added", [[], [tag.id]], "VIP"),
        ("deal.tag_removed", [[tag.id], []], None),
    ]


def test_new_names_become_tags_and_known_ones_are_used(inside: Any) -> None:
    vip = make_tag("VIP")
    contact = make_contact(tag_ids=[vip.id], new_tags="Newsletter, vip, , newsletter,Fair 2026")
    assert [tag.name for tag in contact.tags] == ["Fair 2026", "Newsletter", "VIP"]
    assert sorted(tag.name for tag in every_tag().values()) == ["Fair 2026", "Newsletter", "VIP"]
    assert len({tag.color for tag in every_tag().values()}) == 3


@pytest.mark.parametrize("kind", ["contact", "company", "deal"])
def test_every_kind_keeps_what_is_not_given_and_takes_what_is(inside: Any, kind: str) -> None:
    one, two = make_tag("One"), make_tag("Two")
    make, update = {
        "contact": (make_contact, update_contact),
        "company": (make_company, update_company),
        "deal": (lambda **values: make_deal(inside.stages["Lead"], **values), update_deal),
    }[kind]
    record = make(tag_ids=[one.id, two.id])
    with write_transaction():
        update(record)
        update(record, new_tags="Three")
    assert [tag.name for tag in record.tags] == ["One", "Three", "Two"]
    with write_transaction():
        update(record, tag_ids=[two.id])
    three = next(tag_id for tag_id, tag in every_tag().items() if tag.name == "Three")
    assert told() == [
        (f"{kind}.created", [[], [one.id, two.id]], "One, Two"),
        (f"{kind}.tag_added", [[], [one.id, two.id]], "One, Two"),
        (f"{kind}.tag_added", [[], [three]], "One, Three, Two"),
        (f"{kind}.tag_removed", [[one.id, three], []], "Two"),
    ]
    with write_transaction():
        update(record, tag_ids=[])
    assert record.tags == []


def test_too_many_are_refused_beside_their_field(inside: Any) -> None:
    with pytest.raises(Refused, match="50 tags at most") as refused:
        make_contact(new_tags=",".join(f"t{n}" for n in range(MOST_ON_RECORD + 1)))
    assert refused.value.field == "new_tags"
    with write_transaction():
        for n in range(MOST_TAGS):
            db.session.add(Tag(name=f"t{n}", normalised=f"t{n}"))
    with pytest.raises(Refused, match="500 tags at most"):
        make_contact(new_tags="one more")


def test_a_renamed_tag_is_the_same_one_and_nothing_is_told(inside: Any) -> None:
    tag = make_tag("Vip", "red")
    deal = make_deal(inside.stages["Lead"], tag_ids=[tag.id])
    before = told()
    with write_transaction():
        update_tag(tag, "VIP", "green")  # its own name in another case is no clash
        update_tag(tag, "Gold", "green")
    assert told() == before and [t.name for t in deal.tags] == ["Gold"]
    other = make_tag("VIP")
    with pytest.raises(Refused, match="There is a tag Gold already") as refused, write_transaction():
        update_tag(other, "gold", "blue")
    assert refused.value.link == ("Delete VIP and use Gold instead", "tags.delete", {"tag_id": other.id})


def test_a_deleted_tag_is_taken_off_with_its_events_and_its_name_is_free(inside: Any) -> None:
    tag = make_tag()
    contact, company = make_contact(tag_ids=[tag.id]), make_company(tag_ids=[tag.id])
    with write_transaction():
        assert delete_tag(tag) == 2
    assert contact.tags == company.tags == [] and every_tag() == {}
    assert told()[-2:] == [
        ("contact.tag_removed", [[tag.id], []], None),
        ("company.tag_removed", [[tag.id], []], None),
    ]
    assert tag_names({tag.id}) == {tag.id: "VIP"}  # for what happened before
    assert make_tag("vip").id != tag.id


def test_a_replacement_comes_in_its_place_once(inside: Any) -> None:
    old, new = make_tag("Old"), make_tag("New")
    deals = [make_deal(inside.stages["Lead"], tag_ids=ids) for ids in ([old.id], [old.id, new.id], [new.id])]
    before = len(told())
    with write_transaction():
        assert delete_tag(old, new) == 2
    assert [deal.tag_ids for deal in deals] == [[new.id]] * 3
    assert told()[before:] == [
        ("deal.tag_added", [[old.id], [new.id]], "New"),
        ("deal.tag_removed", [[old.id], [new.id]], "New"),
        ("deal.tag_removed", [[old.id], []], "New"),
    ]
    with pytest.raises(Refused, match="Choose another tag"), write_transaction():
        delete_tag(new, new)


def test_a_deleted_record_takes_its_rows_along_and_tells_what_it_had(inside: Any) -> None:
    tag = make_tag()
    contact = make_contact(tag_ids=[tag.id])
    with write_transaction():
        delete_contact(contact)
    assert db.session.scalar(select(func.count()).select_from(ContactTag)) == 0
    last = db.session.scalars(select(EventRow).order_by(EventRow.id.desc())).first()
    assert last is not None and last.name == "contact.deleted"
    assert (last.snapshot["tag_ids"], last.snapshot["tags"]) == ([tag.id], "VIP")


def test_another_workspaces_tag_is_refused_everywhere(inside: Any, rivals: Any) -> None:
    deal = make_deal(inside.stages["Lead"])
    deal_id = deal.id
    db.session.commit()
    with acting_in(rivals.id):
        theirs = make_tag("Theirs").id
        db.session.commit()
    with pytest.raises(Refused, match="tags of this workspace") as refused, write_transaction():
        update_deal(db.session.get_one(Deal, deal_id), tag_ids=[theirs])
    assert refused.value.field == "tag_ids"
    assert db.session.get(Tag, theirs) is None and every_tag() == {}
    db.session.add(DealTag(deal_id=deal_id, tag_id=theirs))
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        db.session.flush()
    db.session.rollback()
    assert make_tag("theirs").name == "theirs"  # names are one of a kind in each workspace
