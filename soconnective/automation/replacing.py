"""Deleting what rules name: another one may take its place in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from soconnective.automation.references import replace_reference
from soconnective.core.fields import IdField
from soconnective.core.forms import RecordForm


class ReplaceForm(RecordForm):
    """Asks what takes the place of a record that goes; `others` are (id, name) of what can."""

    replacement_id = IdField("Put another one in its place", blank="none")

    def __init__(self, *args: Any, obj: Any, others: Iterable[tuple[int, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        self.replacement_id.offer(others)

    def replace_first(self, kind: str) -> None:
        """Put the chosen one into every rule that names the record, before it goes."""
        if self.replacement_id.data is not None:
            replace_reference(kind, self.record.id, self.replacement_id.data)
