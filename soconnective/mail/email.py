"""E-mail as a channel: the first one."""

from __future__ import annotations

from soconnective.automation.contracts import Made, RunContext, StepResult
from soconnective.mail.addresses import clean_address
from soconnective.mail.channels import Channel, Recipient
from soconnective.mail.outbox import enqueue_mail
from soconnective.mail.readiness import mail_trouble


class Email(Channel):
    """Over the workspace's SMTP account; text and HTML."""

    name = "email"
    label = "Send an e-mail"
    verb = "send e-mail"
    icon = "mail"
    address_kind = "email"
    address_label = "e-mail address"
    has_html = True

    def clean(self, address: str) -> str:
        return clean_address(address)

    def trouble(self) -> str | None:
        return mail_trouble()

    def send(self, to: Recipient, subject: str, text: str, context: RunContext, html: str = "") -> StepResult:
        event = context.event
        mail = enqueue_mail(
            to.address,
            subject,
            text,
            html=html,
            to_name=to.name,
            about=(event.record_type, event.record_id),
            addressee=to.record,
            event=event,
            automation_id=context.rule_id,
        )
        made = (Made("mail", mail, mail.subject, "created" if mail.state == "suppressed" else "sent"),)
        if mail.state == "suppressed":
            return StepResult(f"e-mail to {mail.to_address} held back", made, (mail.error,))
        return StepResult(f"e-mail to {mail.to_address} on its way", made)
