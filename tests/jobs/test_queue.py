"""The queue: in the caller's transaction, once by its key, claimed behind a fence, given up with its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from soconnective.contacts.models import Company
from soconnective.core import clock
from soconnective.core.db import db, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.tenancy import acting_in
from soconnective.events import EventRow
from soconnective.jobs import Again, Worker, cancel, enqueue, queue, run_again
from soconnective.jobs.models import Job
from soconnective.jobs.worker import perform
from tests.jobs.conftest import MakeCompany, Send, give_up, retry


def add(name: str = "Acme", **more: Any) -> int:
    with write_transaction():
        job = enqueue("make_company", {"name": name}, **more)
        db.session.flush()
        return job.id


def states(team: Any) -> list[str]:
    with acting_in(team.id):
        db.session.expire_all()
        return list(db.session.scalars(select(Job.state).order_by(Job.id)))


def job(job_id: int) -> Job:
    return db.session.get_one(Job, job_id, populate_existing=True)


def companies() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(Company.name).order_by(Company.id)))


def elsewhere(function: Any, *args: Any) -> Any:
    """What a worker does, outside of any workspace, while the test stands in one."""
    from soconnective.core.tenancy import _current

    db.session.remove()
    token = _current.set(None)
    try:
        return function(*args)
    finally:
        db.session.remove()
        _current.reset(token)


def turn(worker: Worker) -> int:
    return elsewhere(worker._work)  # type: ignore[no-any-return]


def test_a_job_is_there_if_and_only_if_the_change_is(inside: Any) -> None:

    def fail() -> None:
        with write_transaction():
            enqueue("make_company", {"name": "Never"})
            db.session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    add("Acme")
    assert [found.payload["name"] for found in db.session.scalars(select(Job))] == ["Acme"]


def test_a_kind_that_nobody_knows_is_refused_at_once(inside: Any) -> None:
    with pytest.raises(KeyError):
        enqueue("nonsense")


def test_a_job_is_done_in_its_workspace_by_whom_it_was_asked(inside: Any, worker: Worker) -> None:
    job_id = add("Acme")
    assert turn(worker) == 1
    assert companies() == ["Acme"]
    found = job(job_id)
    assert (found.state, found.attempts, found.worker, found.error) == ("done", 1, None, "")
    assert found.finished_at is not None
    made = db.session.scalars(select(EventRow).where(EventRow.record_type == "company")).one()
    assert (made.actor_kind, made.actor_id) == ("person", inside.owner.id)
    assert turn(worker) == 0


def test_a_job_waits_for_its_time(inside: Any, worker: Worker) -> None:
    with clock.at(clock.now() - timedelta(seconds=10)):
        add("Late")
    add("Later", at=clock.now() + timedelta(hours=1))
    assert turn(worker) == 1
    assert companies() == ["Late"]
    with clock.at(clock.now() + timedelta(hours=2)):
        assert turn(worker) == 1
    assert companies() == ["Late", "Later"]


def test_the_earliest_comes_first(inside: Any, worker: Worker) -> None:
    now = clock.now()
    for minutes in (1, 3, 2):
        add(f"{minutes}", at=now - timedelta(minutes=minutes))
    assert [one.id for one in elsewhere(queue.claim, "me", 2)] == [2, 3]


def test_one_key_is_one_job(inside: Any, rivals: Any) -> None:
    first = add(key="daily-1")
    assert add("Other", key="daily-1") == first
    with acting_in(rivals.id):
        assert add("Theirs", key="daily-1") != first
    assert len(states(inside)) == 1


def test_a_failure_leaves_nothing_and_is_tried_again_later(inside: Any, worker: Worker) -> None:
    MakeCompany.plant = retry()
    job_id = add()
    assert turn(worker) == 1
    found = job(job_id)
    assert (found.state, found.attempts, found.error) == ("ready", 1, "not now")
    assert 4 <= (found.next_at - clock.now()).total_seconds() <= 15
    assert companies() == [] and turn(worker) == 0
    MakeCompany.plant = None
    with clock.at(clock.now() + timedelta(seconds=20)):
        assert turn(worker) == 1
    assert (job(job_id).state, companies()) == ("done", ["Acme"])


def test_a_pause_that_was_asked_for_is_kept(inside: Any, worker: Worker) -> None:
    MakeCompany.plant = retry(90.0)
    job_id = add()
    turn(worker)
    assert 85 < (job(job_id).next_at - clock.now()).total_seconds() <= 90


def test_pauses_grow_and_end(inside: Any) -> None:
    kind, made = MakeCompany(), Job(attempts=1)
    whole = []
    for attempts in (1, 2, 3, 30):
        made.attempts = attempts
        found = [queue.pause(kind, made, ValueError()) for _ in range(200)]
        whole.append(round(sum(found) / 200, -1))
        assert max(found) > min(found) * 1.5
    assert whole[0] == 10 and whole[1] == 20 and whole[2] == 40
    assert 0.5 * kind.longest_pause <= queue.pause(kind, made, ValueError()) <= 1.5 * kind.longest_pause


@pytest.mark.parametrize(
    ("plant", "tries", "reason"),
    [
        (give_up, 1, "it will never work"),
        (retry(), 3, "not now"),
        (lambda _job: 1 / 0, 3, "ZeroDivisionError: division by zero"),
        (lambda _job: db.session.execute(text("SELECT nonsense")), 3, "nonsense"),
    ],
)
def test_what_fails_too_often_is_given_up_with_its_reason(
    inside: Any, worker: Worker, plant: Any, tries: int, reason: str
) -> None:
    MakeCompany.plant = plant
    job_id = add()
    for number in range(5):
        with clock.at(clock.now() + timedelta(hours=number)):
            turn(worker)
    found = job(job_id)
    assert (found.state, found.attempts) == ("dead", tries)
    assert reason in found.error and reason in MakeCompany.buried[0] and len(MakeCompany.buried) == 1
    assert companies() == []


def test_what_was_given_up_can_run_again(inside: Any, worker: Worker) -> None:
    MakeCompany.plant = give_up
    job_id = add()
    turn(worker)
    MakeCompany.plant = None
    with write_transaction():
        run_again(job(job_id))
    assert job(job_id).attempts == 0
    turn(worker)
    assert (job(job_id).state, companies()) == ("done", ["Acme"])
    with pytest.raises(Refused):
        run_again(job(job_id))


def test_what_was_cancelled_never_runs(inside: Any, worker: Worker) -> None:
    job_id = add()
    with write_transaction():
        cancel(job(job_id))
    assert turn(worker) == 0 and job(job_id).state == "cancelled"
    with pytest.raises(Refused):
        cancel(job(job_id))


def test_a_job_goes_on_in_parts(inside: Any, worker: Worker) -> None:
    def go_on(found: Job) -> Again | None:
        left = found.payload["left"]
        return Again({"name": f"Part {left}", "left": left - 1}) if left else None

    MakeCompany.plant = go_on
    with write_transaction():
        enqueue("make_company", {"name": "First", "left": 2})
    assert [turn(worker) for _ in range(4)] == [1, 1, 1, 0]
    assert companies() == ["First", "Part 2", "Part 1"]


def test_a_kind_that_is_gone_is_given_up(inside: Any, worker: Worker) -> None:
    from soconnective.jobs import kinds

    job_id = add()
    kinds._kinds.pop("make_company")
    turn(worker)
    assert job(job_id).state == "dead" and "nobody here knows" in job(job_id).error


# --- leases -----------------------------------------------------------------------------------------


def test_a_lost_worker_is_replaced_when_its_lease_ends(inside: Any, worker: Worker) -> None:
    job_id = add()
    (old,) = elsewhere(queue.claim, "the lost one", 10)
    assert job(job_id).attempts == 1  # counted before anything ran
    assert turn(worker) == 0
    with clock.at(clock.now() + queue.LEASE + timedelta(seconds=1)):
        assert turn(worker) == 1
        assert (job(job_id).state, job(job_id).deaths, companies()) == ("done", 1, ["Acme"])
        assert elsewhere(perform, old) == "lost"  # it comes back from the dead, and is too late
    assert companies() == ["Acme"]


def test_what_takes_three_workers_along_is_given_up(inside: Any) -> None:
    job_id = add()
    now = clock.now()
    for number in range(4):
        with clock.at(now + number * (queue.LEASE + timedelta(seconds=1))):
            found = elsewhere(queue.claim, f"w{number}", 10)
            if number == 3:
                assert elsewhere(perform, found[0]) == "dead"
    assert (job(job_id).state, job(job_id).deaths) == ("dead", 3)
    assert job(job_id).error == queue.LOST and MakeCompany.buried == [queue.LOST]


def test_an_older_token_finishes_nothing_and_puts_nothing_off(inside: Any) -> None:
    job_id = add()
    (old,) = elsewhere(queue.claim, "first", 10)
    with clock.at(clock.now() + queue.LEASE + timedelta(seconds=1)):
        (new,) = elsewhere(queue.claim, "second", 10)
        assert new.token == old.token + 1
        MakeCompany.plant = retry()
        assert elsewhere(perform, old) == "lost"
        elsewhere(queue.give_back, [old])
        found = job(job_id)
        assert (found.state, found.worker, found.token) == ("running", "second", new.token)


def test_claims_that_were_never_begun_are_given_back(inside: Any, worker: Worker) -> None:
    job_id = add()
    claims = elsewhere(queue.claim, "me", 10)
    elsewhere(queue.give_back, claims)
    assert (job(job_id).state, job(job_id).attempts) == ("ready", 0)


def test_a_worker_that_is_slow_gives_back_what_it_will_not_reach(
    inside: Any, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add(f"C{n}") for n in range(3)]
    now = clock.now()

    def dawdle(_job: Any) -> None:
        clock._at.set(now + queue.LEASE)

    MakeCompany.plant = dawdle
    with clock.at(now):
        assert turn(worker) == 1
    assert [job(found).state for found in ids] == ["done", "ready", "ready"]
    assert [job(found).attempts for found in ids] == [1, 0, 0]


# --- what leaves the house ---------------------------------------------------------------------------


def test_what_is_sent_has_the_same_key_at_each_attempt(inside: Any, worker: Worker) -> None:
    Send.plant = retry()
    with write_transaction():
        made = enqueue("send_word", {"word": "hello"})
        key = made.key
    for number in range(2):
        with clock.at(clock.now() + timedelta(hours=number)):
            turn(worker)
    Send.plant = None
    with clock.at(clock.now() + timedelta(hours=3)):
        turn(worker)
    assert Send.outside == [(key, "hello")] * 3
    assert companies() == ["HELLO"]


def test_nothing_is_sent_while_a_transaction_is_open(inside: Any, worker: Worker) -> None:
    open_then: list[bool] = []
    Send.plant = lambda: open_then.append(db.session().in_transaction())
    with write_transaction():
        enqueue("send_word", {"word": "hello"})
    turn(worker)
    assert open_then == [False]


def test_a_word_that_was_sent_by_a_worker_that_lost_its_lease_is_recorded_once(
    inside: Any, worker: Worker
) -> None:
    now = clock.now()

    def lose() -> None:
        Send.plant = None
        with clock.at(now + queue.LEASE + timedelta(seconds=1)):
            elsewhere(lambda: [perform(one) for one in queue.claim("heir", 1)])

    Send.plant = lose
    with write_transaction():
        enqueue("send_word", {"word": "hello"})
    (claim,) = elsewhere(queue.claim, "slow", 1)
    assert elsewhere(perform, claim) == "lost"
    assert len(Send.outside) == 2 and len({key for key, _ in Send.outside}) == 1
    assert companies() == ["HELLO"]


def test_workspaces_do_not_meet_in_the_queue(app: Flask, inside: Any, rivals: Any, worker: Worker) -> None:
    add("Ours")
    with acting_in(rivals.id):
        add("Theirs")
    assert turn(worker) == 2
    assert companies() == ["Ours"]
    with acting_in(rivals.id):
        assert companies() == ["Theirs"]
        assert len(states(rivals)) == 1
