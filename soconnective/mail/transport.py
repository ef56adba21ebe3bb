"""Handing a mail to the server: the only place here that opens a connection.

4xx, a lost connection and a silent server mean later; 5xx, a wrong password and a bad certificate mean never.
The words are the server's own, cut short, with the password taken out wherever it might be repeated.
"""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, ClassVar

from soconnective.core.errors import Refused
from soconnective.jobs import GiveUp, RetryLater
from soconnective.mail.hosts import vetted_address
from soconnective.mail.message import header_text

SECONDS = 15.0  # to connect, and for each answer


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach the account's server. Its password is never shown, not even by `repr`."""

    host: str
    port: int
    security: str
    username: str | None
    password: str | None = field(repr=False)
    hello: str = "localhost"
    is_inside_allowed: bool = False


class _To(smtplib.SMTP):
    """Connects to the address that was vetted; the certificate is still asked for the server's name."""

    address: ClassVar[str]

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self.address, port), timeout)


class _ToTls(smtplib.SMTP_SSL, _To):
    pass


def deliver(server: Server, message: EmailMessage, from_address: str, to_address: str) -> str:
    """Hand `message` over; returns what became of it. Raises `RetryLater` or `GiveUp`, in words."""
    try:
        address = vetted_address(server.host, server.port, server.security, server.is_inside_allowed)
        return _deliver(server, address, message, from_address, to_address)
    except Refused as refused:
        raise GiveUp(refused.message) from None
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
        raise _answered(error, server, to_address) from None
    except smtplib.SMTPNotSupportedError as error:
        raise GiveUp(f"The mail server cannot do what is needed: {_words(str(error), server)}") from None
    except UnicodeError:
        raise GiveUp(
            "The user name or the password has characters that cannot be told to a mail server."
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise _unreached(error, server) from None


def _answered(
    error: smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused, server: Server, to_address: str
) -> RetryLater | GiveUp:
    """What the server's answer means: 5xx is its last word."""
    words: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()))
        said = f"The mail server refused {to_address}"
    else:
        code, words, said = error.smtp_code, error.smtp_error, "The mail server said"
        if isinstance(error, smtplib.SMTPAuthenticationError):
            said = "The mail server did not take the user name or the password"
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    kind = GiveUp if 500 <= code < 600 else RetryLater
    return kind(f"{said}: {code} {_words(text, server)}".strip())


def _unreached(error: OSError | smtplib.SMTPException, server: Server) -> RetryLater | GiveUp:
    """What it means that there was no answer."""
    place = f"{server.host}:{server.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        said = _words(error.verify_message, server)
        return GiveUp(f"The mail server's certificate is not to be trusted: {said}")
    if isinstance(error, ssl.SSLError):
        return RetryLater(f"No encrypted connection to {place}: {_words(error.reason or str(error), server)}")
    if isinstance(error, socket.gaierror):
        return RetryLater(f"No mail server is known under the name {server.host}.")
    if isinstance(error, TimeoutError):
        return RetryLater(f"The mail server {place} did not answer in time.")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return RetryLater(f"The mail server {place} cannot be reached: {_words(why, server)}")


def _deliver(server: Server, address: str, message: EmailMessage, from_address: str, to_address: str) -> str:
    tls = ssl.create_default_context()
    options: dict[str, Any] = {
        "host": server.host, "port": server.port, "timeout": SECONDS, "local_hostname": server.hello
    }  # fmt: skip
    if server.security == "tls":
        client: smtplib.SMTP = type("_There", (_ToTls,), {"address": address})(context=tls, **options)
    else:
        client = type("_There", (_To,), {"address": address})(**options)
    try:
        if server.security == "starttls":
            client.starttls(context=tls)
        if server.username and server.password:
            client.login(server.username, server.password)
        client.send_message(message, from_address, [to_address])
        with suppress(OSError, smtplib.SMTPException):  # it was taken: how they part does not matter
            client.quit()
    finally:
        client.close()
    return f"{server.host}:{server.port} took it"


def _words(text: str, server: Server) -> str:
    """The server's words without the password, also as it was sent."""
    if server.password:
        sent = f"\0{server.username}\0{server.password}"
        for secret in (_encoded(sent), _encoded(server.password), server.password):
            text = text.replace(secret, "•••")
    return header_text(text, 300)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
