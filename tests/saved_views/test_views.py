"""Saved views: kept, changed, shared, moved, deleted; who may what; what is gone; what is crafted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from soconnective.core.conditions import Group, Test
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import CrossTenant
from soconnective.core.tenancy import acting_in
from soconnective.deals.models import Stage
from soconnective.deals.pipeline_operations import create_pipeline
from soconnective.saved_views.listed import lists
from soconnective.saved_views.models import SavedView
from soconnective.saved_views.operations import MOST_VIEWS, create_view
from soconnective.saved_views.tree_text import written
from soconnective.tags.models import Tag
from soconnective.tags.operations import delete_tag
from tests.factories.records import make_deal, make_rule, make_tag

NEW = "/dashboard/views/new"
DEALS = "/dashboard/deals"
BIG = Group(items=[Test(field="amount", operator="at_least", value="100")])
POST = {"record_type": "deal", "name": "Big ones", "conditions": written(BIG), "sort": "-amount"}


def kept(app: Flask, team: Any) -> list[tuple[Any, ...]]:
    """Every view of the workspace as it is stored."""
    with app.app_context(), acting_in(team.id):
        rows = db.session.scalars(select(SavedView).order_by(SavedView.id))
        found = [(v.name, v.is_shared, v.owner_id, v.conditions, v.sort, v.position, v.version) for v in rows]
        db.session.rollback()
    return found


def save(
    app: Flask,
    team: Any,
    person: Any,
    name: str = "Big ones",
    *,
    shared: bool,
    tree: Group = BIG,
    kind: str = "deal",
) -> int:
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            view_id = create_view(lists()[kind], name, tree, None, person.id, is_shared=shared).id
        db.session.rollback()
    return view_id


@pytest.fixture
def deals(app: Flask, team: Any) -> None:
    with app.app_context(), acting_in(team.id):
        for title, amount, owner in (
            ("Small", 5, team.owner),
            ("Large", 500, team.owner),
            ("Huge", 900, team.member),
        ):
            make_deal(team.stages["Lead"], title, amount=amount, owner_id=owner.id)
        make_deal(team.stages["Won"], "Won long ago", amount=700, owner_id=team.member.id)
        db.session.rollback()


def titles(page: str) -> list[str]:
    return re.findall(r">(Small|Large|Huge|Won long ago)</a>", page)


def version_in(page: str, action: str) -> str:
    found = re.search(rf'action="{action}">.*?name="version" value="(\d+)"', page, re.DOTALL)
    assert found, action
    return found[1]


def test_what_the_list_shows_is_kept_with_its_tab_boxes_and_order(
    app: Flask, team: Any, owner: Any, deals: None
) -> None:
    asked = {
        "if-0-0-field": "amount",
        "if-0-0-operator": "at_least",
        "if-0-0-value": "100",
        "mine": "1",
        "sort": "-amount",
    }
    page = owner.get(DEALS, query_string=asked).text
    assert titles(page) == ["Large"] and "Save as view" in page
    form = dict(
        re.findall(r'<input type="hidden" name="(record_type|conditions|sort)" value="([^"]*)">', page)
    )
    data = {name: value.replace("&#34;", '"') for name, value in form.items()}
    answer = owner.post(NEW, data={**data, "name": " My  big ones ", "is_shared": "y"})
    assert answer.status_code == 302 and answer.headers["Location"].endswith("/dashboard/deals?saved=1")
    ((name, is_shared, owner_id, conditions, sort, *_),) = kept(app, team)
    assert (name, is_shared, owner_id, sort) == ("My big ones", True, team.owner.id, "-amount")
    assert conditions == written(
        Group(items=[Test(field="status", operator="is", value="open"), Test(field="owner_id", operator="is", value="me"), *BIG.items])
    )  # fmt: skip
    page = owner.get(answer.headers["Location"]).text
    assert (
        titles(page) == ["Large"] and "The view “My big ones” is there." in page and "not saved" not in page
    )
    assert 'aria-sort="descending"' in page and 'aria-current="page" title="Shared' in page


def test_a_shared_view_shows_everybody_their_own(app: Flask, team: Any, sign_in: Any, deals: None) -> None:
    mine = Group(items=[Test(field="owner_id", operator="one_of", value=["me"])])
    view_id = save(app, team, team.owner, "Mine", shared=True, tree=mine)
    pages = [
        sign_in(person).get(f"{DEALS}?saved={view_id}").text
        for person in (team.owner, team.member, team.viewer)
    ]
    assert [sorted(titles(page)) for page in pages] == [["Large", "Small"], ["Huge", "Won long ago"], []]


def test_a_changed_view_is_kept_anew_or_under_another_name(
    app: Flask, team: Any, owner: Any, deals: None
) -> None:
    view_id = save(app, team, team.owner, shared=False)
    url = f"{DEALS}?saved={view_id}"
    page = owner.get(url).text
    assert sorted(titles(page)) == ["Huge", "Large", "Won long ago"] and "Save changes" not in page
    same = {
        "filter": "1",
        "if-0-0-field": "amount",
        "if-0-0-operator": "at_least",
        "if-0-0-value": "100.0",
        "q": "large",
    }
    page = owner.get(DEALS, query_string={"saved": view_id, **same}).text
    assert titles(page) == ["Large"] and "Save changes" not in page and "if-0-0-value=" not in page
    page = owner.get(DEALS, query_string={"saved": view_id, **same, "if-0-0-value": "800", "q": ""}).text
    assert titles(page) == ["Huge"] and "(changed, not saved)" in page and "Discard" in page
    refilter = f"/dashboard/views/{view_id}/filter"
    data = {
        "conditions": re.findall(r'name="conditions" value="([^"]*)"', page)[0].replace("&#34;", '"'),
        "sort": "title",
        "version": version_in(page, refilter),
    }
    assert owner.post(refilter, data=data).status_code == 302
    assert titles(owner.get(url).text) == ["Huge"] and kept(app, team)[0][4] == "title"
    # Somebody else kept it in the meantime: nothing of what was asked is lost.
    answer = owner.post(
        refilter,
        data={
            **data,
            "conditions": written(Group(items=[Test(field="title", operator="is", value="Small")])),
        },
    )
    assert answer.status_code == 409
    back = re.findall(r'href="(/dashboard/deals\?[^"]+)"', answer.text)[0].replace("&amp;", "&")
    assert titles(owner.get(back).text) == ["Small"] and titles(owner.get(url).text) == ["Huge"]
    assert titles(owner.get(DEALS, query_string={"saved": view_id, "filter": 1}).text) != ["Huge"]


def test_names_are_one_of_a_kind_in_a_list(app: Flask, team: Any, owner: Any, sign_in: Any) -> None:
    member = sign_in(team.member)
    assert owner.post(NEW, data=POST).status_code == 302
    assert member.post(NEW, data=POST).status_code == 302  # each has their own
    assert owner.post(NEW, data={**POST, "is_shared": "y"}).status_code == 302
    assert owner.post(NEW, data={**POST, "record_type": "task", "conditions": "{}"}).status_code == 302
    for client, more in ((owner, {}), (member, {"is_shared": "y"})):
        answer = client.post(NEW, data={**POST, **more, "name": "BIG  ones"})
        assert answer.status_code == 422 and "A view “Big ones” of this list" in answer.text
        assert 'value="BIG  ones"' in answer.text and "where amount is at least 100" in answer.text
    assert len(kept(app, team)) == 4
    share = owner.post("/dashboard/views/1/share", data={"version": 1})
    assert share.status_code == 422 and "is shared with the workspace already" in share.text
    assert owner.post("/dashboard/views/1/edit", data={"version": 1, "name": "Other"}).status_code == 302
    assert owner.post("/dashboard/views/1/share", data={"version": 2}).status_code == 302
    assert owner.post("/dashboard/views/1/edit", data={"version": 3, "name": "big ONES"}).status_code == 422


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "Give the view a name"), ({"name": "   "}, "Give the view a name"), ({"name": "x" * 61}, "60"), ({"name": "a\u202eb"}, "plain text"),
    ({"name": "nul\x00"}, "cannot be stored"), ({"record_type": "user"}, "no such list"), ({"record_type": ""}, "no such list"),
    ({"conditions": "{"}, "cannot be read"), ({"conditions": "[]"}, "cannot be read"), ({"conditions": '{"items":[' * 3000}, "cannot be read"),
    ({"conditions": '{"match":"xor"}'}, "cannot be read"), ({"conditions": '{"items":[{"field":"title"}]}'}, "cannot be read"),
    ({"conditions": '{"items":[{"field":"password","operator":"is","value":"x"}]}'}, "makes no sense any more: This field does not exist"),
    ({"conditions": '{"items":[{"field":"amount","operator":"changed"}]}'}, "cannot be asked this"),
    ({"conditions": '{"items":[{"field":"amount","operator":"is","value":"x"}]}'}, "Write a number"),
    ({"conditions": '{"items":[{"field":"company_id","operator":"is","value":"987654"}]}'}, "Choose from the list"),
    ({"conditions": '{"items":[' + ",".join(['{"field":"source","operator":"empty"}'] * 51) + "]}"}, "cannot be read"),
    ({"conditions": '{"items":[{"match":"any","items":[{"match":"none","items":[{"field":"source","operator":"empty"}]},{"field":"source","operator":"empty"}]}]}'}, "not groups in groups"),
    ({"conditions": "x" * 50_000}, "cannot be read"),
]  # fmt: skip


def test_what_is_crafted_is_refused_and_nothing_is_kept(
    app: Flask, team: Any, owner: Any, deals: None
) -> None:
    for change, message in BAD:
        answer = owner.post(NEW, data={**POST, **change})
        assert answer.status_code == 422, change
        assert message in answer.text, (str(change)[:80], message)
    assert kept(app, team) == []
    view_id = save(app, team, team.owner, shared=False)
    before = kept(app, team)
    for change, _message in BAD[7:]:
        assert (
            owner.post(
                f"/dashboard/views/{view_id}/filter", data={"version": 1, **POST, **change}
            ).status_code
            == 422
        ), change
    assert kept(app, team) == before
    # An order that does not exist is none.
    assert owner.post(NEW, data={**POST, "name": "Odd", "sort": "password"}).status_code == 302
    assert kept(app, team)[-1][4] is None


def test_who_may_see_and_change_which(app: Flask, team: Any, sign_in: Any, deals: None) -> None:
    private, shared = (
        save(app, team, team.member, shared=False),
        save(app, team, team.member, "Shared", shared=True),
    )
    clients = {role: sign_in(getattr(team, role)) for role in ("owner", "admin", "member", "viewer")}
    for role in ("owner", "admin", "viewer"):
        assert clients[role].get(f"{DEALS}?saved={private}").status_code == 404
        assert clients[role].get(f"{DEALS}?saved={shared}").status_code == 200
        for path in ("edit", "delete", "filter", "up", *(["share"] if role != "viewer" else [])):
            assert (
                clients[role].post(f"/dashboard/views/{private}/{path}", data={"version": 1}).status_code
                == 404
            ), (role, path)
        assert "Big ones" not in clients[role].get("/dashboard/views").text
    viewer = clients["viewer"]
    about = viewer.get(f"/dashboard/views/{shared}/edit")
    assert (
        about.status_code == 200
        and "Its maker, owners and admins can change it" in about.text
        and 'action="/dashboard/views' not in about.text
    )
    before = kept(app, team)
    for path in ("edit", "delete", "filter", "down", "unshare"):
        assert (
            viewer.post(f"/dashboard/views/{shared}/{path}", data={"version": 1, **POST}).status_code == 403
        ), path
    assert viewer.post(NEW, data={**POST, "is_shared": "y"}).status_code == 422
    assert kept(app, team) == before
    assert viewer.post(NEW, data=POST).status_code == 302
    assert viewer.post("/dashboard/views/3/share", data={"version": 1}).status_code == 403
    assert (
        clients["admin"]
        .post(f"/dashboard/views/{shared}/edit", data={"version": 1, "name": "By an admin"})
        .status_code
        == 302
    )
    assert (
        clients["member"].post(f"/dashboard/views/{shared}/unshare", data={"version": 2}).status_code == 302
    )
    assert clients["admin"].get(f"{DEALS}?saved={shared}").status_code == 404
    assert clients["member"].post(f"/dashboard/views/{shared}/share", data={"version": 3}).status_code == 302
    assert (
        clients["admin"].post(f"/dashboard/views/{shared}/unshare", data={"version": 4}).headers["Location"]
        == DEALS
    )
    assert clients["member"].post(f"/dashboard/views/{shared}/delete", data={"version": 5}).status_code == 302
    assert clients["member"].get(f"{DEALS}?saved={shared}").status_code == 404
    # A maker who may only look by now keeps their own, and changes nothing that is everybody's.
    lowered = save(app, team, team.viewer, "Once a member", shared=True)
    assert (
        viewer.post(f"/dashboard/views/{lowered}/edit", data={"version": 1, "name": "x"}).status_code == 403
    )


def test_another_workspaces_view_is_like_a_missing_one(
    app: Flask, team: Any, rivals: Any, owner: Any
) -> None:
    save(app, rivals, rivals.owner, "Pad", shared=True)
    theirs = save(app, rivals, rivals.owner, "Theirs", shared=True)
    for url in (
        f"{DEALS}?saved={theirs}",
        f"/dashboard/views/{theirs}/edit",
        f"/dashboard/views/{theirs}/delete",
    ):
        mine, none = owner.get(url), owner.get(url.replace(str(theirs), str(2**40)))
        assert mine.status_code == none.status_code == 404
        assert re.sub('nonce="[^"]*"', "", mine.text) == re.sub('nonce="[^"]*"', "", none.text)
    assert "Theirs" not in owner.get(DEALS).text + owner.get("/dashboard/views").text
    with app.app_context(), acting_in(team.id):
        with pytest.raises(CrossTenant), write_transaction():
            db.session.add(
                SavedView(
                    tenant_id=rivals.id,
                    record_type="deal",
                    name="x",
                    normalised="x",
                    conditions="{}",
                    owner_id=rivals.owner.id,
                )
            )
        db.session.rollback()


def test_a_view_of_what_is_gone_says_so(app: Flask, team: Any, owner: Any, deals: None) -> None:
    with app.app_context(), acting_in(team.id):
        tag_id = make_tag("VIP").id
        db.session.rollback()
    gone = {
        "A tag": (Test(field="tag_ids", operator="include", value=str(tag_id)), "⚠ something that is gone"),
        "Not a tag": (
            Test(field="tag_ids", operator="include_not", value=str(tag_id)),
            "⚠ something that is gone",
        ),
    }
    for name, (test, _said) in gone.items():
        save(app, team, team.owner, name, shared=True, tree=Group(items=[BIG.items[0], test]))
    save(app, team, team.owner, "A stage", shared=True)
    save(app, team, team.owner, "A field", shared=True)
    save(app, team, team.owner, "Damaged", shared=True)
    stage = Group(items=[Test(field="stage_id", operator="one_of", value=["987654"])])
    field = Group(items=[Test(field="shoe_size", operator="is", value="46")])
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            delete_tag(db.session.get_one(Tag, tag_id))
            for name, text in (
                ("A stage", written(stage)),
                ("A field", written(field)),
                ("Damaged", '{"items": ['),
            ):
                db.session.execute(update(SavedView).where(SavedView.name == name).values(conditions=text))
        db.session.rollback()
    for view_id, said in (
        (1, "Choose a tag: this one does not exist any more."), (2, "Choose a tag: this one does not exist any more."),
        (3, "Choose from the list."), (4, "This field does not exist here."), (5, "cannot be read any more"),
    ):  # fmt: skip
        page = owner.get(f"{DEALS}?saved={view_id}")
        assert page.status_code == 200 and said in page.text and titles(page.text) == [], view_id
        assert "nothing is listed" in page.text.lower() and "Save changes" not in page.text
        assert owner.get(f"/dashboard/views/{view_id}/edit").status_code == 200
    index = owner.get("/dashboard/views").text
    assert (
        index.count("⚠ something that is gone") == 3
        and "⚠ shoe_size is gone" in index
        and "⚠ cannot be read" in index
    )
    # The row is taken away, and the view is sound again.
    page = owner.get(
        DEALS,
        query_string={
            "saved": 1,
            "filter": 1,
            "if-0-0-field": "amount",
            "if-0-0-operator": "at_least",
            "if-0-0-value": "100",
        },
    ).text
    assert len(titles(page)) == 3 and "Save changes" in page


def test_views_are_put_in_order_and_the_menu_takes_the_rest(app: Flask, team: Any, owner: Any) -> None:
    for n in range(7):
        save(app, team, team.owner, f"View {n}", shared=n % 2 == 0)
    page = owner.get(f"{DEALS}?saved=6").text
    tabs = re.findall(r'class="view-tab"[^>]*>.*?<span>(View \d)</span>', page)
    assert tabs == ["View 0", "View 2", "View 4", "View 6", "View 5"] and "2 more" in page
    owner.post("/dashboard/views/7/up", data={"version": 1})
    owner.post("/dashboard/views/1/up", data={"version": 1})
    names = re.findall(
        r'primary-link" href="/dashboard/views/\d+/edit">(View \d)', owner.get("/dashboard/views").text
    )
    assert names == ["View 0", "View 2", "View 6", "View 4", "View 1", "View 3", "View 5"]


def test_a_list_holds_only_so_many(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            db.session.add_all(
                SavedView(
                    record_type="deal",
                    name=f"v{n}",
                    normalised=f"v{n}",
                    conditions="{}",
                    owner_id=team.owner.id,
                    is_shared=False,
                    position=n,
                )
                for n in range(MOST_VIEWS)
            )
        db.session.rollback()
    answer = owner.post(NEW, data=POST)
    assert answer.status_code == 422 and "100 views of this kind at most" in answer.text


def test_a_rule_runs_on_what_a_view_shows(app: Flask, team: Any, owner: Any, deals: None) -> None:
    with app.app_context(), acting_in(team.id):
        rule_id = make_rule("deal.picked_by_hand", [("log_note", {"body": "Seen."})], "Look").id
        db.session.rollback()
    view_id = save(app, team, team.owner, shared=False)
    page = owner.get(f"{DEALS}?saved={view_id}").text
    ids = re.findall(r'form="marked" name="ids" value="(\d+)"', page)
    assert len(ids) == 3 and 'id="marked" method="get" action="/dashboard/automations/pick"' in page
    pick = owner.get("/dashboard/automations/pick", query_string={"type": "deal", "ids": ids})
    assert "Run a rule on 3 deals" in pick.text and "Small" not in pick.text
    answer = owner.post(
        "/dashboard/automations/pick", data={"type": "deal", "ids": ids, "automation_id": rule_id}
    )
    assert answer.status_code == 302


def test_views_name_what_takes_the_place_of_what_goes(app: Flask, team: Any, owner: Any) -> None:
    with app.app_context(), acting_in(team.id):
        old, new = make_tag("Old").id, make_tag("New").id
        db.session.rollback()
    stages = (team.stages["Lead"], team.stages["Qualified"])
    tagged = Group(items=[Test(field="tag_ids", operator="include_any", value=[str(old), str(new)])])
    staged = Group(items=[Test(field="stage_id", operator="is", value=str(stages[0]))])
    save(app, team, team.owner, "Tagged", shared=True, tree=tagged)
    save(app, team, team.member, "Of a member", shared=False, tree=staged)
    save(app, team, team.owner, "Staged", shared=True, tree=staged)
    ask = f"/dashboard/settings/tags/{old}/delete"
    assert "One view names it" in owner.get(ask).text and ">Tagged</a>" in owner.get(ask).text
    assert owner.post(ask, data={"version": 1, "replacement_id": new}).status_code == 302
    ask = f"/dashboard/settings/pipelines/stages/{stages[0]}/replace"
    page = owner.get(ask).text
    assert ">Staged</a>" in page and "Of a member" not in page
    assert owner.post(ask, data={"version": 1, "replacement_id": stages[1]}).status_code == 302
    trees = [row[3] for row in kept(app, team)]
    assert trees == [
        written(Group(items=[Test(field="tag_ids", operator="include_any", value=[str(new)])])),
        *[written(Group(items=[Test(field="stage_id", operator="is", value=str(stages[1]))]))] * 2,
    ]


def test_views_follow_a_pipeline_that_is_deleted_also_those_of_tasks(
    app: Flask, team: Any, owner: Any, version: Any
) -> None:
    with app.app_context(), acting_in(team.id):
        with write_transaction():
            gone = create_pipeline("Renewals")
        old, first, pipeline = gone.id, str(gone.stages[0].id), str(gone.id)
        stays = db.session.get_one(Stage, team.stages["Lead"]).pipeline_id
        db.session.rollback()
    task_tree = Group(items=[Test(field="deal_stage_id", operator="one_of", value=[first])])
    save(app, team, team.owner, "In it", shared=True, tree=Group(items=[Test(field="pipeline_id", operator="is", value=pipeline)]))  # fmt: skip
    save(app, team, team.member, "Of a member", shared=False, tree=Group(items=[Test(field="stage_id", operator="is", value=first)]))  # fmt: skip
    save(app, team, team.owner, "Tasks of it", shared=True, tree=task_tree, kind="task")
    ask = f"/dashboard/settings/pipelines/{old}/delete"
    page = owner.get(ask).text
    assert "2 views name it" in page and ">In it</a>" in page and ">Tasks of it</a>" in page
    assert "Of a member" not in page and "replacement_id" in page
    lead = team.stages["Lead"]
    data = {"version": version(owner, ask), "replacement_id": lead}
    assert owner.post(ask, data=data).status_code == 302
    wanted = (
        Test(field="pipeline_id", operator="is", value=str(stays)),
        Test(field="stage_id", operator="is", value=str(lead)),
    )
    trees = [row[3] for row in kept(app, team)]
    assert sorted(trees) == sorted(
        [
            *(written(Group(items=[test])) for test in wanted),
            written(Group(items=[Test(field="deal_stage_id", operator="one_of", value=[str(lead)])])),
        ]
    )


def test_a_stage_of_tasks_views_is_listed_where_it_is_replaced(app: Flask, team: Any, owner: Any) -> None:
    tree = Group(items=[Test(field="deal_stage_id", operator="is", value=str(team.stages["Lead"]))])
    for kind in ("task", "appointment"):
        save(app, team, team.owner, f"For a {kind}", shared=True, tree=tree, kind=kind)
    ask = f"/dashboard/settings/pipelines/stages/{team.stages['Lead']}/replace"
    page = owner.get(ask).text
    assert ">For a task</a>" in page and ">For a appointment</a>" in page
    assert owner.post(ask, data={"version": 1, "replacement_id": team.stages["Qualified"]}).status_code == 302
    assert all(str(team.stages["Qualified"]) in row[3] for row in kept(app, team))
