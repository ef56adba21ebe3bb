"""The pages of saved views; the lists themselves belong to the areas."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for

from soconnective.core.access import can, may
from soconnective.core.conditions import Group, describe
from soconnective.core.errors import Refused
from soconnective.core.forms import RecordForm
from soconnective.core.listing import address
from soconnective.core.registry import registry
from soconnective.saved_views import filter_form, operations
from soconnective.saved_views.filtering import MARK, VIEW, ListFilter
from soconnective.saved_views.forms import FilterForm, NameForm, NewViewForm
from soconnective.saved_views.listed import Listed, asked_fields, lists
from soconnective.saved_views.models import SavedView
from soconnective.saved_views.queries import get_view, may_change, views_of
from soconnective.saved_views.tree_text import read

bp = Blueprint("saved_views", __name__, url_prefix="/dashboard/views")
NO_LIST = "There is no such list. Go back to the list, and save its filter from there."


@bp.get("/filter/<any(contact, company, deal, task, appointment):record_type>")
@may("records.view")
def panel(record_type: str) -> Any:
    """The filter's form alone, drawn anew: a row more or less, or another field in one."""
    return render_template("saved_views/panel.html", asked=ListFilter(lists()[record_type]))


@bp.get("")
@may("views.own")
def index() -> Any:
    found = [
        (registry.record_types[name], [(view, words_of(view), may_change(view)) for view in views_of(name)])
        for name in lists()
    ]
    return render_template("saved_views/index.html", lists=found)


@bp.route("/new", methods=["GET", "POST"])
@may("views.own")
def new() -> Any:
    asked = {name: request.args.get(name, "") for name in ("record_type", "conditions", "sort")}
    form = NewViewForm(**asked)
    listed = lists().get(form.record_type.data or "")
    if form.saved(lambda: _create(form, listed)):
        flash(f"The view “{form.result.name}” is there.", "success")
        return redirect(list_url(form.result))
    return render_template(
        "saved_views/new.html",
        form=form,
        kind=registry.record_types[listed.record_type] if listed else None,
        words=_words(listed, form.conditions.data or "") if listed else "",
        back=url_for(listed.endpoint) if listed else url_for("saved_views.index"),
    ), form.status


def _create(form: NewViewForm, listed: Listed | None) -> SavedView:
    if listed is None:
        raise Refused(NO_LIST)
    if form.is_shared.data and not can("views.share"):
        raise Refused("Your role keeps views to yourself.", "is_shared")
    tree = operations.tree_from(form.conditions.data or "{}", listed)
    return operations.create_view(
        listed, form.name.data or "", tree, form.sort.data, g.person.id, is_shared=bool(form.is_shared.data)
    )


@bp.route("/<id:view_id>/edit", methods=["GET", "POST"])
@may("views.own")
def edit(view_id: int) -> Any:
    view = get_view(view_id)
    form = NameForm(obj=view)
    _require_may(view)
    if form.saved(lambda: operations.rename_view(view, form.name.data or "")):
        flash("Saved.", "success")
        return redirect(list_url(view))
    return _page(view, form)


@bp.post("/<id:view_id>/filter")
@may("views.own")
def refilter(view_id: int) -> Any:
    """Keep what the list asks now as the view's filter."""
    view = get_view(view_id)
    _require_may(view)
    listed, form = lists()[view.record_type], FilterForm()
    form.record = view
    if form.saved(lambda: _refilter(view, listed, form)):
        flash(f"“{view.name}” is kept like this.", "success")
        return redirect(list_url(view))
    tree = read((form.conditions.data or "")[: operations.LONGEST_TREE])
    return _page(view, form, tree)


def _refilter(view: SavedView, listed: Listed, form: FilterForm) -> SavedView:
    tree = operations.tree_from(form.conditions.data or "", listed)
    return operations.refilter_view(view, listed, tree, form.sort.data)


@bp.post("/<id:view_id>/<any(share, unshare):what>")
@may("views.share")
def share(view_id: int, what: str) -> Any:
    view = get_view(view_id)
    _require_may(view)
    form = RecordForm(obj=view)
    if form.saved(lambda: operations.share_view(view, is_shared=what == "share")):
        if not view.is_shared and view.owner_id != g.person.id:
            flash(f"“{view.name}” is its maker's alone now.", "success")
            return redirect(url_for(lists()[view.record_type].endpoint))
        flash(
            f"“{view.name}” is shared with the workspace."
            if view.is_shared
            else f"“{view.name}” is yours alone.",
            "success",
        )
        return redirect(list_url(view))
    return _page(view, form)


@bp.post("/<id:view_id>/<any(up, down):way>")
@may("views.own")
def move(view_id: int, way: str) -> Any:
    view = get_view(view_id)
    _require_may(view)
    form = RecordForm(obj=view)
    if form.saved(lambda: operations.move_view(view, -1 if way == "up" else 1)):
        return redirect(url_for("saved_views.index") + f"#{view.record_type}")
    return _page(view, form)


@bp.route("/<id:view_id>/delete", methods=["GET", "POST"])
@may("views.own")
def delete(view_id: int) -> Any:
    view = get_view(view_id)
    _require_may(view)
    name, listing = view.name, url_for(lists()[view.record_type].endpoint)
    form = RecordForm(obj=view)
    if form.saved(lambda: operations.delete_view(view)):
        flash(f"The view “{name}” is gone. Its records are as they were.", "success")
        return redirect(listing)
    if not may_change(view):
        return _page(view, form)
    return render_template(
        "saved_views/delete.html", form=form, view=view, cancel=list_url(view)
    ), form.status


def _require_may(view: SavedView) -> None:
    """Who may only use a view may look at its page, and change nothing."""
    if request.method == "POST" and not may_change(view):
        abort(403)


def _page(view: SavedView, form: RecordForm, unsaved: Group | None = None) -> Any:
    """The view's own page; `unsaved` is the filter that could not be kept."""
    listed = lists()[view.record_type]
    back = list_url(view)
    if unsaved is not None:
        args = filter_form.FilterForm(asked_fields(listed), unsaved).address()
        back = address(listed.endpoint, args, **{VIEW: view.id, MARK: "1"})
    name = form if isinstance(form, NameForm) else NameForm(formdata=None, obj=view)
    return render_template(
        "saved_views/edit.html",
        form=form,
        name=name,
        view=view,
        kind=registry.record_types[view.record_type],
        words=words_of(view),
        may_change=may_change(view),
        back=back,
        is_unsaved=unsaved is not None,
    ), form.status


def list_url(view: SavedView) -> str:
    return url_for(lists()[view.record_type].endpoint, saved=view.id)


def words_of(view: SavedView) -> str:
    return _words(lists()[view.record_type], view.conditions)


def _words(listed: Listed, text: str) -> str:
    """The filter in words; empty if it leaves nothing out."""
    tree = read(text[: operations.LONGEST_TREE]) if text else Group()
    return "⚠ cannot be read" if tree is None else describe(tree, asked_fields(listed))
