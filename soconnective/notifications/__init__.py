"""What people are told: the bell, its page, what each of them wants, and who can tell them.

Owns the tables `notifications` and `notification_choices`. Knows of rules, since it tells of those that fail;
sends no mail itself: whoever can registers with `mail_with`.

    notify(person_id, "message", "Call Ana", about=("deal", 7))   # in the caller's transaction
"""

from flask import Flask

from soconnective.core.registry import SettingsSection, registry
from soconnective.notifications import action, queries, retention, rule_news, undelivered_news, views
from soconnective.notifications.kinds import Kind, mail_with, register_kind
from soconnective.notifications.operations import notify

__all__ = [
    "Kind",
    "action",
    "init_app",
    "mail_with",
    "notify",
    "register_kind",
    "retention",
    "rule_news",
    "undelivered_news",
]


def init_app(app: Flask) -> None:
    app.register_blueprint(views.bp)
    app.jinja_env.globals.update(unread_notifications=queries.unread, notification_link=queries.link_of)
    registry.add(
        SettingsSection(
            "notifications",
            "Notifications",
            "notifications.choices",
            "bell",
            15,
            "account.own",
            "What you are told of, in the app and by mail.",
        )
    )
