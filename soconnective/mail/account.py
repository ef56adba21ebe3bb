"""The workspace's mail account: kept, changed, and read for the worker."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import select

from soconnective.core import clock
from soconnective.core.db import db
from soconnective.core.errors import Link, Refused
from soconnective.core.secrets import SecretLost, has_secret, keep_secret, open_secret
from soconnective.jobs import GiveUp
from soconnective.mail.addresses import clean_address
from soconnective.mail.hosts import check_account, clean_host
from soconnective.mail.models import MailAccount
from soconnective.mail.transport import Server

PASSWORD = "mail.password"  # noqa: S105  the secret's name
NOT_SET_UP = "There is no mail account yet. Set it up in Settings → E-mail."
_LINK: Link = ("Set up the mail account", "mail.account", {})


def find_account() -> MailAccount | None:
    """The current workspace's account, read once while the session knows it."""
    return db.session.scalars(select(MailAccount)).first()


def get_account() -> MailAccount:
    """The account; raises `Refused` in words when there is none."""
    account = find_account()
    if account is None:
        raise Refused(NOT_SET_UP, link=_LINK)
    return account


def save_account(
    account: MailAccount | None, *, host: str, from_address: str, password: str | None = None, **values: Any
) -> tuple[MailAccount, bool]:
    """Make or change the account; also says whether the kept password was dropped.

    It is dropped when mail would go elsewhere or under another name: nobody learns a password by naming
    their own server. Raises `Refused` beside the field.
    """
    values.update(host=clean_host(host), from_address=_from(from_address))
    check_account(values["host"], values["port"], values["security"], is_inside_allowed())
    if account is None:
        account = MailAccount(**values)
        db.session.add(account)
        keep_secret(PASSWORD, password or None)
        return account, False
    place = (account.host, account.port, account.username)
    way = _way(account)
    for name, value in values.items():
        setattr(account, name, value)
    is_dropped = False
    if password:
        keep_secret(PASSWORD, password)
    elif place != (account.host, account.port, account.username):
        is_dropped = has_secret(PASSWORD)
        keep_secret(PASSWORD, None)
    if password or way != _way(account):
        account.proven_at = None
    return account, is_dropped


def _way(account: MailAccount) -> tuple[object, ...]:
    """What decides whether mail gets out, but the password."""
    return account.host, account.port, account.username, account.security, account.from_address


def prove_account(version: int) -> None:
    """Its server took a mail: the account of this version works."""
    account = find_account()
    if account is None or account.proven_at is not None:
        return
    account = lock_account()
    if account is not None and account.version == version:
        account.proven_at = clock.now()


def lock_account() -> MailAccount | None:
    """The account's row, held until this transaction ends: host and password cannot change in between."""
    return db.session.scalars(
        select(MailAccount).with_for_update().execution_options(populate_existing=True)
    ).first()


def server_of(account: MailAccount) -> Server:
    """How the worker reaches it; raises `GiveUp` in words when the password is missing or cannot be opened."""
    try:
        password = open_secret(PASSWORD)
    except SecretLost:
        raise GiveUp(
            "The mail account's password cannot be opened any more (SECRET_KEY has changed). "
            "Enter it again in Settings → E-mail."
        ) from None
    if account.username and password is None:
        raise GiveUp("The mail account has no password. Enter it in Settings → E-mail.")
    base = urlsplit(str(current_app.config["SOCONNECTIVE_BASE_URL"])).hostname
    return Server(
        account.host,
        account.port,
        account.security,
        account.username,
        password,
        base or "localhost",
        is_inside_allowed(),
    )


def is_inside_allowed() -> bool:
    return bool(current_app.config["SOCONNECTIVE_MAIL_INSIDE"])


def _from(address: str) -> str:
    try:
        return clean_address(address)
    except Refused as refused:
        raise Refused(refused.message, "from_address") from None
