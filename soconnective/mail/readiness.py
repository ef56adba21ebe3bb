"""Whether mail can leave: said before a rule is switched on, and not only when its first mail fails."""

from __future__ import annotations

from soconnective.core.kept import kept
from soconnective.core.secrets import has_secret
from soconnective.mail.account import PASSWORD, find_account

NO_ACCOUNT = "This workspace has no mail account yet: set it up in Settings → E-mail."
NO_PASSWORD = "The mail account has no password: enter it in Settings → E-mail."  # noqa: S105  a sentence
UNPROVEN = "Nothing has been sent yet with the mail account as it is: send yourself a test mail in Settings → E-mail."  # fmt: skip


def mail_trouble() -> str | None:
    """Why mail of this workspace might not leave, in words; None when the account has proved itself."""
    return kept("mail.trouble", _look)


def _look() -> str | None:
    account = find_account()
    if account is None:
        return NO_ACCOUNT
    if account.username and not has_secret(PASSWORD):
        return NO_PASSWORD
    return UNPROVEN if account.proven_at is None else None
