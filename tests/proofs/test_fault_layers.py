"""Proof 1, around the rules: faults in conditions, templates, receivers, the listener, the store and the engine.

And a machine that saves, switches rules, opens savepoints and plants faults at random, for as long as asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from soconnective.automation import engine, merge, trace
from soconnective.automation.contracts import Trigger
from soconnective.core.db import db, write_transaction
from soconnective.deals.models import Deal, Stage
from soconnective.deals.operations import move_deal, update_deal
from soconnective.events import capture, namespace
from tests.factories.records import make_deal
from tests.proofs.faults import faults
from tests.proofs.small_world import NAME, Case, Injector, World, attempt, wrong

STORE = sys.modules["soconnective.events.store"]  # the package has a function of that name
# Where a fault strikes: the module or class, its attribute, and whether the save may still go through.
LAYERS: dict[str, tuple[Any, str]] = {
    "condition": (Trigger, "match"),
    "template": (merge, "render"),
    "look-up of rules": (engine, "candidates"),
    "verdict": (engine, "_judge"),
    "chain": (engine, "_run_chain"),
    "performing": (engine, "execute"),
    "performing together": (engine, "execute_together"),
    "numbering": (engine, "number"),
    "runs": (trace, "record"),
    "folding": (STORE, "fold"),
    "storing": (STORE, "store"),
    "listener": (capture, "_note_changed"),
}


@contextmanager
def planted(layer: str, fault: Any, when: str, swallowed: bool, struck: list[str]) -> Iterator[None]:
    """The fault before or after the layer's own work, once; `struck` says that it was reached."""
    place, name = LAYERS[layer]
    real, here = getattr(place, name), []

    def strike() -> None:
        if not here:
            here.append(1)
            struck.append(layer)
            with suppress(Exception) if swallowed else nullcontext():
                fault()

    def around(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            strike()
        result = real(*args, **kwargs)
        if when == "after":
            strike()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, around)
        yield


@pytest.fixture
def world(app: Any, inside: Any) -> Any:
    made = World(app, inside)
    yield made
    made.reader.dispose()


@pytest.mark.proof(NAME)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_fault_in_any_layer_keeps_the_promise(
    world: World, proof: Any, database_kind: str, layer: str
) -> None:
    problems, struck = [], []  # type: ignore[var-annotated]
    chosen = list(faults(database_kind).items())
    if not proof.is_long:
        chosen = [
            (name, fault)
            for name, fault in chosen
            if name in ("python error", "memory", "bad sql", "disk full")
        ]
    for (name, fault), when, swallowed in (
        (pair, when, swallowed)
        for pair in chosen
        for when in ("before", "after")
        for swallowed in (False, True)
    ):
        one = Case("create_task", f"{layer} {when}", name, swallowed, "undo", layer != "performing")
        found = attempt(world, one, planted(layer, fault, when, swallowed, struck))
        # A rule that a layer above it dropped has no run; what is stored must be whole all the same.
        problems += [
            p
            for p in found
            if "has 0 runs" not in p and "the victim succeeded" not in p and "was taken along" not in p
        ]
        proof.cases += 1
    proof.faults = len(struck)
    assert struck
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


@pytest.mark.proof(NAME)
def test_a_receiver_that_fails_never_reaches_the_write(world: World, proof: Any, database_kind: str) -> None:
    problems = []
    for name, fault in faults(database_kind).items():
        for swallowed in (False, True):

            def careless(_sender: Any, fault: Any = fault, swallowed: bool = swallowed, **_more: Any) -> None:
                if swallowed:
                    with suppress(Exception):
                        fault()
                else:
                    fault()

            signal = namespace.signal("deal.won")
            signal.connect(careless, weak=False)
            try:
                one = Case("create_task", "receiver", name, swallowed, "undo", True)
                problems += [p for p in attempt(world, one) if "the victim succeeded" not in p]
            finally:
                signal.disconnect(careless)
            proof.cases += 1
            proof.faults += 1
    proof.found = len(problems)
    assert not problems, "\n".join(problems)


def test_a_commit_after_a_hidden_error_is_refused(inside: Any, database_kind: str) -> None:
    """Also where no rule is near: what was hidden from the session is seen before COMMIT."""
    statement = (
        "INSERT OR ROLLBACK INTO rate_windows (key) VALUES (NULL)"
        if database_kind == "sqlite"
        else "SELECT nonsense"
    )
    with pytest.raises(Exception, match="nothing was saved"), write_transaction():  # noqa: PT012
        db.session.connection()
        with suppress(Exception):
            db.session.execute(text(statement))


class Life(RuleBasedStateMachine):
    """A workspace lives: people save, rules are switched, savepoints come and go, things break."""

    world: World
    injector: Injector
    kind: str
    steps = 0
    struck = 0
    problems: list[str] = []

    @initialize()
    def begin(self) -> None:
        db.session.remove()
        self.injector.case = None
        self.deals: dict[int, tuple[str, str]] = {}  # id -> title, status: what was acknowledged
        self.world.switch_on([])

    @rule(title=st.text("abc", min_size=1, max_size=5))
    def add_a_deal(self, title: str) -> None:
        type(self).steps += 1
        deal = make_deal(self.world.team.stages["Lead"], title)
        self.deals[deal.id] = (title, "open")

    @rule(
        names=st.sets(
            st.sampled_from(
                [
                    "First",
                    "Last",
                    "Victim create_task undo",
                    "Victim log_note keep",
                    "Victim create_task keep",
                ]
            )
        )
    )
    def switch(self, names: set[str]) -> None:
        type(self).steps += 1
        self.world.switch_on(sorted(names))

    @rule(data=st.data(), undone=st.booleans())
    def save_with_a_savepoint(self, data: Any, undone: bool) -> None:
        """A change, then another inside a savepoint that may be undone."""
        type(self).steps += 1
        if not self.deals:
            return
        deal_id = data.draw(st.sampled_from(sorted(self.deals)))
        with write_transaction():
            deal = db.session.get_one(Deal, deal_id)
            update_deal(deal, title="kept")
            savepoint = db.session.begin_nested()
            update_deal(deal, title="perhaps")
            db.session.flush()
            savepoint.rollback() if undone else savepoint.commit()
        self.deals[deal_id] = ("kept" if undone else "perhaps", self.deals[deal_id][1])

    @rule(data=st.data(), swallowed=st.booleans(), place=st.sampled_from(["before", "middle", "after"]))
    def win_under_a_fault(self, data: Any, swallowed: bool, place: str) -> None:
        type(self).steps += 1
        open_ones = sorted(key for key, value in self.deals.items() if value[1] == "open")
        if not open_ones:
            return
        deal_id = data.draw(st.sampled_from(open_ones))
        fault = data.draw(st.sampled_from(sorted(faults(self.kind))))
        action, on_failure = data.draw(
            st.sampled_from([("create_task", "undo"), ("log_note", "keep"), ("create_task", "keep")])
        )
        case = Case(action, place, fault, swallowed, on_failure, True)
        self.world.switch_on(["First", case.victim, "Last"])
        self.injector.case, before = case, self.injector.fired
        raised = None
        try:
            with write_transaction():
                move_deal(
                    db.session.get_one(Deal, deal_id),
                    db.session.get_one(Stage, self.world.team.stages["Won"]),
                )
        except Exception as error:
            raised = error
            with suppress(Exception):
                db.session.rollback()
        self.injector.case = None
        db.session.remove()
        type(self).struck += self.injector.fired - before
        found = self.world.stored(deal_id)
        ran = {name for name, _outcome, _detail in found["runs"]}
        told = [
            p for p in wrong(case, raised, found) if "has 0 runs" not in p and "the victim succeeded" not in p
        ]
        told += (
            [f"a save failed that no rule's fault could end: {raised!r}"]
            if raised and self.injector.fired == before
            else []
        )
        type(self).problems += [f"{case}, {ran}: {problem}" for problem in told]
        assert not told
        if raised is None:
            self.deals[deal_id] = (self.deals[deal_id][0], "won")

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        if not getattr(self, "deals", None):
            return
        with self.world.reader.connect() as connection:
            rows = connection.execute(
                text("SELECT id, title, status FROM deals WHERE id >= :first"), {"first": min(self.deals)}
            )
            stored = {row[0]: (row[1], row[2]) for row in rows}
        assert stored == self.deals


@pytest.mark.proof(NAME)
def test_a_life_of_saves_and_faults(
    world: World, proof: Any, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = type(
        "LifeHere",
        (Life,),
        {
            "world": world,
            "injector": Injector(database_kind, monkeypatch),
            "kind": database_kind,
            "problems": [],
        },
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=proof.scale(6, 250),
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    proof.cases, proof.faults, proof.found = machine.steps, machine.struck, len(machine.problems)
    assert machine.steps >= proof.scale(100, 8_000)


@pytest.mark.control(NAME)
def test_a_machine_finds_a_save_that_is_told_but_not_made(
    world: World, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a commit that now and then is a rollback."""
    real, count = db.session.commit, [0]

    def commit() -> None:
        count[0] += 1
        db.session.rollback() if count[0] % 7 == 0 else real()

    monkeypatch.setattr(db.session, "commit", commit)
    machine = type(
        "LifeHere",
        (Life,),
        {
            "world": world,
            "injector": Injector(database_kind, monkeypatch),
            "kind": database_kind,
            "problems": [],
        },
    )
    with pytest.raises(Exception):  # noqa: B017, PT011  hypothesis wraps what the machine raised
        run_state_machine_as_test(
            machine,
            settings=settings(max_examples=5, stateful_step_count=30, deadline=None, derandomize=True, database=None,
                              suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=(Phase.generate,)),
        )  # fmt: skip
    assert count[0] > 7
