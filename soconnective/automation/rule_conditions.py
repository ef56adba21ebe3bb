"""The conditions of a rule, or of a branch, as a form: what events can be asked, read as `Conditions`."""

from __future__ import annotations

from werkzeug.datastructures import MultiDict

from soconnective.automation.conditions import Conditions, event_fields
from soconnective.core.conditions import form

TOO_MANY = f"A rule has at most {form.MOST_GROUPS} groups of {form.MOST_ROWS} conditions. Nothing was saved."
JOINS = form.JOINS


class ConditionForm(form.ConditionForm):
    """Read from what was posted (`source`), or from what is stored (`conditions`)."""

    def __init__(
        self,
        record_type: str | None,
        conditions: Conditions | None = None,
        source: MultiDict[str, str] | None = None,
        prefix: str = "if",
    ) -> None:
        tree = conditions.tree if conditions is not None else None
        super().__init__(
            event_fields(record_type), tree, source, prefix, with_changes=True, record_type=record_type
        )
        if conditions is not None and conditions.message:
            self.errors.insert(0, conditions.message)

    def read(self, is_draft: bool = False) -> Conditions | None:
        """The conditions, or None with messages beside the rows."""
        tree = self.read_tree(is_draft)
        return None if tree is None else Conditions(tree, self.record_type)
