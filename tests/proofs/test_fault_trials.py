"""Proof 1, what is only tried, and what goes on later: faults in rules in the shadow, in trials and behind a wait.

A rule in the shadow leaves its run and nothing else, whatever fails in it; a trial leaves nothing at all, and the
next save goes through; a run that goes on is whole, or failed with what it did before the wait alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from soconnective.automation import trial
from soconnective.automation.execution import Job as Performance
from soconnective.automation.models import Automation
from soconnective.automation.operations import definition_of
from soconnective.core import clock
from soconnective.core.db import db, discarded_transaction, write_transaction
from soconnective.events import EventRow
from soconnective.jobs import queue, worker
from soconnective.timeline.operations import write_note
from tests.proofs.ledger import Rows
from tests.proofs.test_fault_matrix import Case, Left, Striker, World, all_cases, spread, strike_all
from tests.proofs.victims import VICTIMS

NAME = "1c Faults of what is tried, and behind waits"


class Shadows(World):
    """The victims are in the shadow."""

    how = "is_shadow"

    def wrong(self, case: Case, raised: Exception | None, left: Left) -> list[str]:
        if raised is not None:
            return [f"the request failed, and yet: {left}"] if left.rest or left.runs else []
        outcomes = [(run["outcome"], bool(run["detail"])) for run in left.runs]
        if outcomes != [("shadowed", True)]:
            return [f"its runs: {left.runs}"]
        wanted = self.usual(case.trigger, None, case.between).rest
        if left.rest != wanted:
            return [f"too much {left.rest - wanted}, too little {wanted - left.rest}"]
        return []


@pytest.fixture
def shadows(app: Flask, inside: Any) -> Iterator[Shadows]:
    made = Shadows(app, inside)
    yield made
    made.ledger.close()


@pytest.mark.proof(NAME)
def test_a_rule_in_the_shadow_leaves_its_run_and_nothing_else(
    shadows: Shadows, proof: Any, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike_all(
        spread(all_cases(database_kind), proof.scale(70, 100_000)),
        lambda case: shadows.usual(case.trigger, None, case.between),
        shadows.attempt,
        Striker(database_kind, monkeypatch),
        proof,
    )


class Trials(World):
    """What the victims are tried on has happened; no rule is on."""

    def __init__(self, app: Flask, team: Any) -> None:
        super().__init__(app, team)
        for trigger in {case.trigger for case in all_cases("sqlite")}:
            self.desk.save(trigger)
        db.session.remove()
        self.base = self.ledger.rows()

    def tried(self, case: Case) -> list[str]:
        """Try the victim of `case` (twice together, where rules may share and `between` says so), then save something."""
        outcome = self._try(case)
        db.session.remove()
        after = self.ledger.rows()
        problems = [f"left {found}" for found in self.ledger.difference(self.base, after, {})]
        with write_transaction():
            write_note("and then", deal_id=self.desk.deal)
        db.session.remove()
        saved = self.ledger.rows()
        more = self.ledger.difference(after, saved, {})
        made = sorted(f"{verb} {table}" for table, verb, _what in more if table in ("notes", "events"))
        if made != ["new events", "new notes"] or sum(n for (t, *_), n in more.items() if t == "notes") != 1:
            problems.append(f"the next save left {more}")
        self.ledger.restore(self.base, saved)
        if outcome == "succeeded" and not case.swallowed:
            problems.append("it was said to succeed")
        return [f"{case}: {problem}" for problem in problems]

    def _try(self, case: Case) -> str:
        with suppress(Exception), discarded_transaction():  # one whose transaction is lost says so loudly
            row = db.session.scalars(select(EventRow).where(EventRow.name == case.trigger)).one()
            automation = db.session.get_one(Automation, self.rules[case.rule])
            rule = trial.as_rule(definition_of(automation), automation)
            event, session = row.as_event(), db.session()
            job = Performance(event, rule, trial.judge(session, rule, event), is_trial=True)
            if not (job.may_share and case.between):
                return trial.try_rule(session, rule, event).run.outcome
            twin = Performance(event, rule, trial.judge(session, rule, event), is_trial=True)
            if not trial.attempt_together(session, [job, twin]):
                trial.attempt(session, job)
            return job.run.outcome
        return "lost"


@pytest.fixture
def trials(app: Flask, inside: Any) -> Iterator[Trials]:
    made = Trials(app, inside)
    yield made
    made.ledger.close()


@pytest.mark.proof(NAME)
def test_a_trial_leaves_nothing_and_the_next_save_goes_through(
    trials: Trials, proof: Any, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = spread(all_cases(database_kind), proof.scale(70, 100_000))
    strike_all(cases, lambda _case: None, trials.tried, Striker(database_kind, monkeypatch), proof)


@pytest.mark.control(NAME)
def test_a_trial_that_keeps_what_it_tried_is_found(
    trials: Trials, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("create_task", "after", "python error", True, "undo", False)
    striker = Striker(database_kind, monkeypatch)
    monkeypatch.setattr(trial, "undone", lambda session: session.begin_nested())
    monkeypatch.setitem(globals(), "discarded_transaction", write_transaction)
    with striker.aims(case):
        assert trials.tried(case)


class Later(World):
    """The victims stand behind a wait, and the fault strikes when the run goes on."""

    def __init__(self, app: Flask, team: Any) -> None:
        super().__init__(app, team)
        self._waiting: dict[str, Rows] = {}
        self._whole: dict[str, tuple[str, Counter[Any]]] = {}

    def steps_of(self, action: str) -> list[Any]:
        head, *others = self.desk.steps(action)
        return [head, ("wait", {"mode": "time", "amount": 1}), *others]

    def waiting(self, rule: str, trigger: str) -> Rows:
        """How things stand when the run waits."""
        if rule not in self._waiting:
            self.switched_on([rule])
            self.desk.save(trigger)
            db.session.remove()
            rows = self._waiting[rule] = self.ledger.rows()
            self.ledger.restore(self.base, rows)
        return self._waiting[rule]

    def go_on(self, rule: str, trigger: str) -> tuple[str, str, Counter[Any]]:
        """What became of the job and of the run, and all that is new beside them; then all is as it was."""
        before = self.waiting(rule, trigger)
        self.ledger.restore(before, self.base)
        with clock.at(clock.now() + timedelta(days=2)):
            (claim,) = queue.claim("a worker", 10)
            db.session.remove()
            state = worker.perform(claim)
        db.session.remove()
        after = self.ledger.rows()
        aliases = {("", rule): "the rule", ("automation_id", str(self.rules[rule])): "the rule"}
        rest = self.ledger.difference(before, after, aliases)
        columns = self.ledger.columns["automation_runs"]
        (run,) = (
            dict(zip(columns, row, strict=True))
            for row in after["automation_runs"].values()
            if row[columns.index("automation_id")] == self.rules[rule]
        )
        mine = {("jobs", (claim.id,)), ("automation_runs", (run["id"],))}
        left = {one: n for one, n in rest.items() if one[1] != "changed" or (one[0], one[2][0]) not in mine}
        self.ledger.restore(self.base, after)
        return state, run["outcome"], Counter(left)

    def whole(self, rule: str, trigger: str) -> tuple[str, Counter[Any]]:
        if rule not in self._whole:
            state, outcome, left = self.go_on(rule, trigger)
            assert state == "done" and outcome in ("succeeded", "waiting"), (rule, state, outcome)
            self._whole[rule] = outcome, left
        return self._whole[rule]

    def struck(self, case: Case) -> list[str]:
        state, outcome, left = self.go_on(case.rule, case.trigger)
        well, whole = self.whole(case.rule, case.trigger) if case.rule in self._whole else ("", Counter())
        if state == "ready":  # its transaction was lost: it comes again
            is_as_before = outcome == "waiting" and not left
            return [] if is_as_before else [f"{case}: it comes again, and yet: {outcome}, {left}"]
        if outcome == well:
            problems = [] if case.swallowed else ["the victim succeeded"]
            wanted = whole
        elif outcome == "failed":
            problems, wanted = [], self.notice(case.trigger)
        elif outcome == "partly_succeeded" and case.on_failure == "keep":
            problems = []
            wanted = self._whole[f"Spared {case.action} {case.on_failure}"][1] + self.notice(case.trigger)
        else:
            return [f"{case}: {state}, {outcome}"]
        if left != wanted:
            problems.append(f"{outcome}: too much {left - wanted}, too little {wanted - left}")
        return [f"{case}: {problem}" for problem in problems]


@pytest.fixture
def later(app: Flask, inside: Any) -> Iterator[Later]:
    made = Later(app, inside)
    yield made
    made.ledger.close()


@pytest.mark.proof(NAME)
def test_what_stands_behind_a_wait_is_whole_or_fails_alone(
    later: Later, proof: Any, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(case: Case) -> None:
        later.notice(case.trigger)
        later.whole(case.rule, case.trigger)
        if VICTIMS[case.action].is_alone:
            later.whole(f"Spared {case.action} {case.on_failure}", case.trigger)

    cases = spread([case for case in all_cases(database_kind) if not case.between], proof.scale(70, 100_000))
    strike_all(cases, prepare, later.struck, Striker(database_kind, monkeypatch), proof)
