"""Off, in the shadow, on: what a switch means for what waits and for what falls due meanwhile.

A rule that somebody switches off or puts in the shadow finishes what it began, at the version of then (unless they
cancel it); what falls due while it is off is skipped and written down. One that the breaker paused holds both until
it is resumed; then they come, late and in order.
"""

from __future__ import annotations

from soconnective.automation.models import Automation
from soconnective.automation.waiting import catch_up
from soconnective.core import clock
from soconnective.core.db import plain


def switch(rule: Automation, state: str) -> dict[str, str]:
    """Put `rule` into `state`; returns what the planning of its due rows must know (`due_plan.rule_changed`)."""
    now, looked, was_active = clock.now(), rule.looks, rule.is_active
    off_since, paused_at = rule.off_since, rule.paused_at
    rule.is_active, rule.is_shadow = state == "on", state == "shadow"
    if rule.is_active and not was_active:
        rule.activated_at = now
        rule.paused_at = rule.paused_why = None
        if paused_at is not None:
            catch_up(rule.id)
    if not rule.looks:
        rule.off_since = off_since or (now if looked else paused_at)
        return {}
    rule.off_since = None
    if looked:
        return {}
    if off_since is not None:
        rule.gap = {"from": plain(off_since), "to": plain(now)}
        return {"off_since": plain(off_since)}
    return {"since": plain(paused_at), "resumed": "yes"} if paused_at is not None else {}


def finish_held(rule: Automation) -> dict[str, str]:
    """Let what a paused rule holds go on, and the rule stay off; the same answer as `switch`."""
    marks = switch(rule, "off") if not rule.looks else {}
    rule.paused_at = rule.paused_why = None
    catch_up(rule.id)
    return marks
