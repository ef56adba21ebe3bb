"""The one line with which an area offers its kind of record to time, silence, schedules, buttons and other rules."""

from __future__ import annotations

from soconnective.automation.registry import register_trigger
from soconnective.automation.timed import PickedByHand, RuleStarted, made
from soconnective.automation.timed_dates import DateReached
from soconnective.automation.timed_schedule import ScheduleDue
from soconnective.automation.timed_silence import WentSilent


def register_timed(record_type: str, article: str, group: str, has_dates: bool = True) -> None:
    """Declare the addressed events of `record_type` and register their triggers; `article` is "a deal"."""
    place = (record_type, article, group)
    if has_dates:
        register_trigger(
            made(DateReached, "date_reached", *place, "clock", f"a time before or after a date of {article}")
        )
    register_trigger(
        made(WentSilent, "went_silent", *place, "moon", f"nothing happens to {article} for some days"),
        made(
            ScheduleDue,
            "schedule_due",
            *place,
            "refresh",
            f"a schedule, for each {article.rsplit(maxsplit=1)[-1]}",
        ),
        made(
            PickedByHand, "picked_by_hand", *place, "player-play", f"somebody presses a button on {article}"
        ),
        made(RuleStarted, "rule_started", *place, "bolt", f"another rule starts this one on {article}"),
    )
