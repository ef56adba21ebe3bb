"""The settings page of tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for

from soconnective.automation.references import replace_reference, rules_naming
from soconnective.core.access import may
from soconnective.core.registry import registry
from soconnective.tags import operations
from soconnective.tags.forms import DeleteTagForm, TagForm
from soconnective.tags.models import Tag
from soconnective.tags.queries import every_tag, get_tag, tag_counts
from soconnective.tags.taggable import taggables

bp = Blueprint("tags", __name__, url_prefix="/dashboard/settings/tags")


@dataclass(frozen=True, slots=True)
class Use:
    """How many records of a kind have a tag, and their list."""

    number: int
    label: str
    url: str


def uses_of(tag: Tag, counts: dict[str, dict[int, int]]) -> list[Use]:
    found = []
    for item in taggables():
        number, kind = counts[item.record_type].get(tag.id, 0), registry.record_types[item.record_type]
        if number:
            label = (kind.label if number == 1 else kind.plural).lower()
            found.append(Use(number, label, url_for(item.listing, **item.filters, tag_id=tag.id)))
    return found


@bp.route("", methods=["GET", "POST"])
@may("tags.edit")
def index() -> Any:
    form = TagForm()
    if form.saved(lambda: operations.create_tag(form.name.data, form.color.data)):
        flash(f"The tag {form.result.name} is there.", "success")
        return redirect(url_for("tags.index"))
    counts = tag_counts()
    tags = [(tag, uses_of(tag, counts)) for tag in every_tag().values()]
    return render_template("tags/index.html", form=form, tags=tags), form.status


@bp.route("/<id:tag_id>", methods=["GET", "POST"])
@may("tags.edit")
def edit(tag_id: int) -> Any:
    tag = get_tag(tag_id)
    form = TagForm(obj=tag)
    if form.saved(lambda: operations.update_tag(tag, form.name.data, form.color.data)):
        flash("Saved.", "success")
        return redirect(url_for("tags.index"))
    return render_template("tags/form.html", form=form, name=every_tag()[tag_id].name), form.status


@bp.route("/<id:tag_id>/delete", methods=["GET", "POST"])
@may("tags.edit")
def delete(tag_id: int) -> Any:
    """Asks first: which records have it, which rules name it, and what comes in its place."""
    tag = get_tag(tag_id)
    form, name = DeleteTagForm(obj=tag), tag.name
    if form.saved(lambda: _delete(tag, form.replacement_id.data)):
        flash(f"The tag {name} is gone.", "success")
        return redirect(url_for("tags.index"))
    rules = rules_naming("tag", tag_id)
    return render_template(
        "tags/delete.html", form=form, tag=tag, uses=uses_of(tag, tag_counts()), rules=rules
    ), form.status


def _delete(tag: Tag, replacement_id: int | None) -> None:
    """The rules first: they then see the records change under the tag that they name from now on."""
    replacement = get_tag(replacement_id) if replacement_id is not None else None
    if replacement is not None:
        replace_reference("tag", tag.id, replacement.id)
    operations.delete_tag(tag, replacement)
