"""Settings → E-mail: the account, a test mail, and the templates."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import select

from soconnective.automation.merge import MergeError, merge_fields
from soconnective.automation.references import rules_naming
from soconnective.automation.replacing import ReplaceForm
from soconnective.core.access import may
from soconnective.core.db import db
from soconnective.core.forms import RecordForm
from soconnective.core.secrets import has_secret
from soconnective.core.workspace import current_workspace
from soconnective.mail import templates
from soconnective.mail.account import PASSWORD, find_account, save_account
from soconnective.mail.forms import AccountForm, TemplateForm
from soconnective.mail.frame import with_frame
from soconnective.mail.html import paragraphs_of
from soconnective.mail.models import MailMessage, MailTemplate
from soconnective.mail.outbox import enqueue_mail

bp = Blueprint("mail", __name__, url_prefix="/dashboard/settings/mail")
DROPPED = (
    "Saved. The server, port or user name is another one now, so the password was forgotten: enter it again."
)


@bp.route("", methods=["GET", "POST"])
@may("workspace.edit")
def account() -> Any:
    found = find_account()
    form = AccountForm(obj=found)
    if form.saved(lambda: save_account(found, **form.values())):
        flash(DROPPED, "warning") if form.result[1] else flash("Saved.", "success")
        return redirect(url_for("mail.account"))
    test = db.session.scalars(
        select(MailMessage)
        .where(MailMessage.is_automatic.is_(False), MailMessage.created_by_id == g.person.id)
        .order_by(MailMessage.id.desc())
        .limit(1)
    ).first()
    page = render_template(
        "mail/account.html", form=form, account=found, test=test, has_password=has_secret(PASSWORD)
    )
    return page, form.status


@bp.post("/test")
@may("workspace.edit")
def test() -> Any:
    """A mail to whoever asks; its page says what came of it."""
    form = RecordForm()
    name = current_workspace().name
    words = (
        f"This is the test mail that you asked for in {name}.\n\n"
        "It arrived, so the mail account works: rules of this workspace can send mail."
    )
    if form.saved(
        lambda: enqueue_mail(
            g.person.email, f"Test mail from {name}", words, to_name=g.person.name, is_automatic=False
        )
    ):
        return redirect(url_for("mails.show", message_id=form.result.id))
    flash(form.form_problem or "Not sent. Try again.", "danger")
    return redirect(url_for("mail.account"))


@bp.get("/templates")
@may("automations.edit")
def template_index() -> Any:
    return render_template(
        "mail/templates.html", templates=templates.known_templates(), labels=dict(templates.record_types())
    )


@bp.route("/templates/new", methods=["GET", "POST"])
@may("automations.edit")
def new_template() -> Any:
    form = TemplateForm()
    if not _only_shows() and form.saved(lambda: templates.create_template(**form.values())):
        flash("Saved. Rules can choose it now.", "success")
        return redirect(url_for("mail.edit_template", template_id=form.result.id))
    return _template_page(form, None)


@bp.route("/templates/<id:template_id>", methods=["GET", "POST"])
@may("automations.edit")
def edit_template(template_id: int) -> Any:
    template = templates.get_template(template_id)
    form = TemplateForm(obj=template)
    if not _only_shows() and form.saved(lambda: templates.update_template(template, **form.values())):
        flash("Saved. Mails that are on their way already stay as they are.", "success")
        return redirect(url_for("mail.edit_template", template_id=template_id))
    return _template_page(form, template)


@bp.route("/templates/<id:template_id>/delete", methods=["GET", "POST"])
@may("automations.edit")
def delete_template(template_id: int) -> Any:
    """Asks first: which rules send it, and what they send in its place."""
    template = templates.get_template(template_id)
    form = ReplaceForm(obj=template, others=templates.others_like(template))
    if form.saved(lambda: _delete(form, template)):
        flash("The template is gone.", "success")
        return redirect(url_for("mail.template_index"))
    rules = rules_naming("template", template_id)
    return render_template(
        "mail/delete_template.html", form=form, template=template, rules=rules
    ), form.status


def _delete(form: ReplaceForm, template: MailTemplate) -> None:
    form.replace_first("template")
    templates.delete_template(template)


def _only_shows() -> bool:
    """*Preview*, and the fields of another kind of record: what is typed is drawn again, and nothing is saved."""
    return request.method == "POST" and request.form.get("op") in ("preview", "fields")


def _is_preview() -> bool:
    return request.method == "POST" and request.form.get("op") == "preview"


def _template_page(form: TemplateForm, template: MailTemplate | None) -> Any:
    """The form, and what comes out with the newest record; *Preview* shows what is typed and saves nothing."""
    shown, is_asked = None, _is_preview()
    if is_asked and not (form.validate() and _reads_well(form)):
        form.status = 422
    elif is_asked or (template is not None and form.status == 200 and not _only_shows()):
        try:
            shown = templates.preview(form.texts())
        except (MergeError, KeyError) as error:  # of before a field, or a kind of record, went
            form.form_problem = str(error)
    page = render_template(
        "mail/template.html",
        form=form,
        template=template,
        shown=shown,
        paragraphs=paragraphs_of(shown.text) if shown else [],
        fields=merge_fields(form.record_type.data),
    )
    return with_frame(page), form.status


def _reads_well(form: TemplateForm) -> bool:
    """Whether all of it can be sent; what is wrong goes beside its field."""
    texts = form.texts()
    wrong = templates.text_problems(texts)
    if not (texts.body or texts.html):
        wrong.append(("body", templates.NOTHING))
    for name, said in wrong:
        form[name].errors = [*form[name].errors, said]
    return not wrong
