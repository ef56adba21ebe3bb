"""Forms of tags, and the part about tags that a record's form inherits."""

from __future__ import annotations

from typing import Any

from wtforms import RadioField, SelectChoice, StringField
from wtforms.validators import InputRequired, Length

from soconnective.core.fields import IdField, IdsField
from soconnective.core.forms import RecordForm
from soconnective.core.palette import COLORS
from soconnective.tags.models import NAME_LENGTH
from soconnective.tags.queries import every_tag


class TaggedForm(RecordForm):
    """A form about a record with tags: those that exist to mark, and a line for new ones."""

    tag_ids = IdsField("Tags")
    new_tags = StringField("New tags", validators=[Length(max=400)])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known_tags = list(every_tag().values())
        self.tag_ids.offer((tag.id, tag.name) for tag in self.known_tags)


class TagForm(RecordForm):
    name = StringField("Name", validators=[InputRequired("Give the tag a name."), Length(max=NAME_LENGTH)])
    color = RadioField(
        "Colour", choices=[SelectChoice(color, color.capitalize()) for color in COLORS], default=COLORS[1]
    )


class DeleteTagForm(RecordForm):
    replacement_id = IdField("Put another one in its place", blank="none: take it off")

    def __init__(self, *args: Any, obj: Any, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        self.replacement_id.offer(
            (tag_id, tag.name) for tag_id, tag in every_tag().items() if tag_id != obj.id
        )
