"""E-mail out: the workspace's SMTP account, templates, every mail that was asked for, and the job that sends it.

Owns `mail_accounts`, `mail_templates` and `mail_messages`, and the registry of channels. Knows no area: records
with addresses come to `channels.register_addressee`, panels are put on their pages with `mail_panel`.

    enqueue_mail("ana@x.example", "Welcome", "Good to have you.")      # in the caller's transaction
"""

from __future__ import annotations

from flask import Flask, url_for

from soconnective.core.registry import RecordType, SettingsSection, registry
from soconnective.jobs import register_daily, register_job
from soconnective.mail import message_views, notices, views
from soconnective.mail.channels import Addressee, Channel, Recipient, register_addressee
from soconnective.mail.email import Email
from soconnective.mail.message_views import mail_panel
from soconnective.mail.models import MailMessage
from soconnective.mail.outbox import enqueue_mail
from soconnective.mail.send import SendMail
from soconnective.mail.send_message import SendMessage, offer
from soconnective.mail.upkeep import PruneMail

__all__ = [
    "Addressee",
    "Channel",
    "Recipient",
    "SendEmail",
    "SendMessage",
    "enqueue_mail",
    "init_app",
    "mail_panel",
    "notices",
    "offer",
    "register_addressee",
]

SendEmail = offer(Email())


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    app.register_blueprint(message_views.bp)
    register_job(SendMail)
    register_daily(PruneMail)
    registry.add(
        RecordType(
            "mail",
            "E-mail",
            "E-mails",
            "mail",
            MailMessage,
            lambda row_id: url_for("mails.show", message_id=row_id),
            lambda row: row.subject,
        ),
        SettingsSection(
            "mail",
            "E-mail",
            "mail.account",
            "mail",
            45,
            "workspace.edit",
            "The account that mail is sent from, and templates.",
        ),
    )
