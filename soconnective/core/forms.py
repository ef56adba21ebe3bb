"""Forms that keep what was typed, say what is wrong beside the field, and never lose a clash.

A view builds a `RecordForm` and calls `saved()`:

    form = DealForm(obj=deal)
    if form.saved(lambda: operations.update_deal(deal, **form.values())):
        flash("Saved"); return redirect(...)
    return render_template("deals/form.html", form=form), form.status
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from flask import current_app, request, url_for
from flask_wtf import FlaskForm
from itsdangerous import BadSignature, Signer
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from wtforms import BooleanField, Field, HiddenField, IntegerField, PasswordField, StringField, TextAreaField
from wtforms.validators import InputRequired, Optional, ValidationError
from wtforms.widgets import HiddenInput

from soconnective.core import db as database
from soconnective.core.errors import Conflict, Refused
from soconnective.core.tenancy import current_tenant_id, has_tenant

# PostgreSQL, where writers run side by side: serialization failure, deadlock, a unique value taken or
# a row gone in the same moment. (On SQLite there is one writer: there the same errors are our fault.)
CLASH_STATES = {"40001", "40P01", "23505", "23503"}


def is_clash(error: BaseException) -> bool:
    """Whether `error` means that somebody else's write came first (answer 409, not 500)."""
    if isinstance(error, StaleDataError | Conflict):
        return True
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CLASH_STATES


def workspace_token() -> str:
    """The current workspace's id, signed: forms carry it so that a switch in another tab is noticed."""
    return _signer().sign(str(current_tenant_id())).decode() if has_tenant() else ""


def workspace_of_token(token: str) -> int | None:
    """The workspace id in `token`, or None if it is not ours."""
    try:
        return int(_signer().unsign(token))
    except (BadSignature, ValueError):
        return None


def _signer() -> Signer:
    return Signer(current_app.config["SECRET_KEY"], salt="workspace")


def clean_text(value: str | None) -> str | None:
    """Stripped text with plain line ends, None for nothing; a filter of every text field."""
    return (value.replace("\r\n", "\n").strip() or None) if isinstance(value, str) else value


def refuse_nul(_form: Any, field: Field) -> None:
    """No database text may hold NUL (PostgreSQL refuses it), nor half a surrogate pair."""
    value = field.data
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        raise ValidationError("This text contains characters that cannot be stored.")


def nothing_missing(form: Any) -> bool:
    """Refuse required texts that are empty once stripped (`InputRequired` looks at what was typed)."""
    found = True
    for field in form:
        if (
            isinstance(field, StringField)
            and field.flags.required
            and field.data is None
            and not field.errors
        ):
            said = [v.message for v in field.validators if isinstance(v, InputRequired) and v.message]
            field.errors = [*field.errors, said[0] if said else "This is needed."]
            found = False
    return found


class RecordForm(FlaskForm):  # type: ignore[misc]
    """A form about one record: posts the version it was made from and the workspace it belongs to."""

    version = IntegerField(widget=HiddenInput(), validators=[Optional()])
    workspace = HiddenField()

    class Meta:
        def bind_field(self, form: Any, unbound_field: Any, options: dict[str, Any]) -> Field:
            kind = unbound_field.field_class
            if issubclass(kind, StringField) and not issubclass(kind, HiddenField | PasswordField):
                filters = list(unbound_field.kwargs.get("filters", ()))
                if clean_text not in filters:
                    unbound_field.kwargs["filters"] = [clean_text, *filters]
            return unbound_field.bind(form=form, **options)

    _made_with: dict[str, Any]

    def __new__(cls, *_args: Any, **kwargs: Any) -> Self:
        """Keep what a form needs beside its record, so that a clash can draw the newer values with it."""
        form = super().__new__(cls)
        form._made_with = {name: value for name, value in kwargs.items() if name not in ("obj", "formdata")}
        return form  # type: ignore[no-any-return]

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        self.record = obj
        self.status = 200
        self.conflict: list[tuple[str, str, str]] | None = None  # (label, yours, theirs)
        self.form_problem: str | None = None
        self.form_link: tuple[str, str] | None = None
        if has_tenant():
            self.workspace.data = workspace_token()

    def values(self) -> dict[str, Any]:
        """The declared fields only, without csrf, version and workspace."""
        return {
            name: value
            for name, value in self.data.items()
            if name not in ("csrf_token", "version", "workspace")
        }

    def validate(self, extra_validators: Any = None) -> bool:
        for field in self:
            if isinstance(field, StringField | TextAreaField):
                field.validators = [refuse_nul, *[v for v in field.validators if v is not refuse_nul]]
        return bool(super().validate(extra_validators)) and nothing_missing(self)

    def saved(self, operation: Callable[[], Any]) -> bool:
        """On a valid post: run `operation`, commit, and say True. Otherwise say False; `status` tells why.

        422: a field is wrong, or the operation refused. 409: somebody saved first; `conflict` holds
        both values and the form now carries their version, so that saving again is a decision.
        """
        if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
            return False
        if not self.validate():
            self.status = 422
            return False
        try:
            if self.record is not None and self.version.data is not None:
                check_version(self.record, self.version.data)
            self.result = operation()
            database.commit()
        except Refused as refused:
            database.abandon()
            self._refuse(refused)
            return False
        except Exception as error:
            database.abandon()
            if not is_clash(error):
                raise
            self._show_conflict()
            return False
        return True

    def _refuse(self, refused: Refused) -> None:
        self.status = 422
        field = self._fields.get(refused.field or "")
        if field is None:
            self.form_problem = refused.message
        else:
            field.errors = [*field.errors, refused.message]
        self._offer(refused)

    def _offer(self, refused: Refused) -> None:
        """The page that helps, as a link under the form's head."""
        if refused.link is not None:
            label, endpoint, arguments = refused.link
            self.form_link = (label, url_for(endpoint, **arguments))

    def _show_conflict(self) -> None:
        self.status = 409
        record = self.record
        if record is None:
            self.form_problem = (
                "Somebody saved something that this depends on in the same moment. Save again."
            )
            return
        self.conflict = []
        database.db.session.refresh(record)
        theirs = type(self)(formdata=None, obj=record, **self._made_with)
        for field in self:
            if field.name in ("csrf_token", "version", "workspace") or isinstance(field, PasswordField):
                continue
            other = theirs._fields.get(field.name)
            if other is not None and _shown(field) != _shown(other):
                self.conflict.append((field.label.text, _shown(field), _shown(other)))
        self.version.data = record.version
        self.version.raw_data = None


def _shown(field: Field) -> str:
    """A field's value as a person reads it."""
    if isinstance(field, BooleanField):
        return "yes" if field.data else "no"
    choices = getattr(field, "iter_choices", None)
    if choices is not None:
        return ", ".join(str(choice[1]) for choice in field.iter_choices() if choice[2]) or "(none)"
    value = field._value() if hasattr(field, "_value") else field.data  # noqa: SLF001  what WTForms' widgets call
    return str(value) if value not in (None, "") else "(empty)"


def check_version(record: Any, version: int) -> None:
    """Raise `Conflict` unless `record` is still the version that the form was made from."""
    if record.version != version:
        raise Conflict(record)


__all__ = [
    "CLASH_STATES",
    "IntegrityError",
    "RecordForm",
    "check_version",
    "clean_text",
    "is_clash",
    "nothing_missing",
    "refuse_nul",
    "workspace_of_token",
    "workspace_token",
]
