"""Forms of deals, moves, pipelines and stages."""

from __future__ import annotations

from typing import Any

from flask import g, request
from wtforms import BooleanField, IntegerField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange

from soconnective.contacts.queries import company_choices, contact_choices
from soconnective.core.fields import AmountField, DayField, IdField, IdsField, PersonField
from soconnective.core.formats import currencies
from soconnective.core.forms import RecordForm
from soconnective.core.palette import COLORS
from soconnective.core.workspace import current_workspace
from soconnective.deals.models import KINDS
from soconnective.deals.queries import stage_choices
from soconnective.tags.forms import TaggedForm

SOURCES = ("Website", "Referral", "Campaign", "Cold call", "Event", "Partner", "Other")


class DealForm(TaggedForm):
    title = StringField("Title", validators=[InputRequired("Give the deal a title."), Length(max=200)])
    amount = AmountField("Amount")
    currency = SelectField("Currency")
    stage_id = IdField("Stage", blank=None)
    owner_id = PersonField("Owner")
    company_id = IdField("Company", blank="no company", record_type="company")
    contact_id = IdField("Primary contact", blank="nobody", record_type="contact")
    contact_ids = IdsField("Further contacts", record_type="contact")
    expected_close_on = DayField("Expected close")
    source = StringField("Source", validators=[Length(max=80)])
    lost_reason = StringField("Reason, if lost", validators=[Length(max=200)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        people = list(obj.people) if obj is not None else []
        if obj is None:
            kwargs.setdefault("owner_id", g.person.id)
            kwargs.setdefault("currency", current_workspace().currency)
        else:
            kwargs.setdefault("contact_id", next((p.contact_id for p in people if p.is_primary), None))
            kwargs.setdefault("contact_ids", [p.contact_id for p in people if not p.is_primary])
        super().__init__(*args, obj=obj, **kwargs)
        self.currency.choices = [SelectChoice(code, f"{code} · {name}") for code, name in currencies()]
        self.stage_id.offer(stage_choices())
        if self.stage_id.data is None and self.stage_id.choices and "stage_id" not in request.form:
            self.stage_id.data = int(self.stage_id.choices[0].value)
        self.owner_id.offer_people(obj.owner_id if obj else None)
        self.company_id.offer(company_choices(self.company_id.data))
        offered = contact_choices(self.contact_id.data)
        known = {row[0] for row in offered}
        offered += [(p.contact_id, p.contact.name) for p in people if p.contact_id not in known]
        self.contact_id.offer(offered)
        self.contact_ids.offer(offered)

    def posted(self) -> dict[str, Any]:
        values = self.values()
        primary, further = values.pop("contact_id"), values.pop("contact_ids") or []
        values["contact_ids"] = [*([primary] if primary else []), *(c for c in further if c != primary)]
        return values


class MoveForm(RecordForm):
    stage_id = IdField("Move to", blank=None)
    lost_reason = StringField("Why was it lost?", validators=[Length(max=200)])

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        self.stage_id.offer(stage_choices())


class PipelineForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the pipeline a name."), Length(max=80)])


class StageForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the stage a name."), Length(max=80)])
    color = SelectField("Colour", choices=[SelectChoice(c, c) for c in COLORS], default="gray")
    probability = IntegerField(
        "Probability in %",
        default=50,
        validators=[InputRequired("Write 0 to 100."), NumberRange(0, 100, "Write 0 to 100.")],
    )
    kind = SelectField(
        "A deal here is", choices=[SelectChoice(k, v.lower()) for k, v in KINDS.items()], default="open"
    )


class ReplaceForm(RecordForm):
    replacement_id = IdField("Its deals move to", blank="choose a stage")
    is_told_to_rules = BooleanField("Let rules react to these moves")

    def __init__(self, *args: Any, obj: Any, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        self.replacement_id.offer([row for row in stage_choices() if row[0] != obj.id])


class RulesForm(ReplaceForm):
    """What rules name when a whole pipeline goes: a stage of another one."""

    def __init__(self, *args: Any, obj: Any, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        own = {stage.id for stage in obj.stages}
        self.replacement_id.offer([row for row in stage_choices() if row[0] not in own])
