"""The world outside: providers that carry e-mail and SMS. What they raise says whether to try again.

A provider gets each message at least once: a crash after the call and before the settlement calls again. The message's
`id` (Message-ID, file name) is the same each time, so that a repeat can be known as one.
"""

import logging
import os
import smtplib
import ssl
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Protocol, TypeVar

import orjson

from common import clock

log = logging.getLogger(__name__)

SINK_LEASE = timedelta(seconds=10)
REPLIES_PER_MESSAGE = 12
"""At most so many times an SMTP exchange, from connecting to the end of the message, waits for a reply."""
MESSAGES_PER_CONNECTION = 100
"""Mail servers close connections that never end; a fresh one now and then costs less than a retry."""


@dataclass(frozen=True, slots=True)
class Email:
    id: str
    to: str
    name: str
    language: str
    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Sms:
    id: str
    to: str
    body: str


M = TypeVar("M", contravariant=True)


class Provider(Protocol[M]):
    """Carries messages of one channel. `name` is kept with each attempt; a call that has not ended within `lease`
    died with its process."""

    name: str
    lease: timedelta

    def send(self, message: M) -> str | None:
        """Hand a message over; its reference at the provider, if there is one. Raises DeliveryFailed."""

    def close(self) -> None:
        """Free connections; `send` may be called again. Safe to repeat."""


class DeliveryFailed(Exception):
    """`reason` is a code of ours, safe to publish; `detail` are the provider's words, kept with the attempt."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class TemporaryFailure(DeliveryFailed):
    """This message not now: later."""


class ProviderAway(TemporaryFailure):
    """No message gets through now: leave the others alone, too."""


class PermanentFailure(DeliveryFailed):
    """This message never."""


def sender_domain(sender: str) -> str:
    """The domain of `Name <address>`. Raises ValueError when there is none."""
    _, address = parseaddr(sender)
    local, _, domain = address.partition("@")
    if not local or "." not in domain or not (sender.isprintable() and sender.isascii()):
        raise ValueError("must be like Sri-Care <no-reply@example.lk>")
    return domain


def compose(email: Email, sender: str) -> EmailMessage:
    """The MIME message: plain text and HTML. Raises PermanentFailure for an address that no header can carry."""
    name, address = parseaddr(sender)
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address(one_line(name), addr_spec=address)
        message["To"] = Address(one_line(email.name), addr_spec=email.to)
    except (ValueError, IndexError, MessageError):
        raise PermanentFailure("address_not_valid") from None
    message["Subject"] = one_line(email.subject)
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{email.id}@{sender_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(email.text)
    message.add_alternative(email.html, subtype="html")
    message["Content-Language"] = email.language
    return message


def one_line(text: str) -> str:
    """Without line breaks and control characters, which could end a header and begin another."""
    return " ".join("".join(char if char.isprintable() or char == "\u200d" else " " for char in text).split())


def _masked(address: str) -> str:
    """Enough of an address to recognise it in a log."""
    local, at, domain = address.partition("@")
    return f"{local[:1]}***@{domain}" if at else f"***{address[-3:]}"


class SmtpProvider:
    """E-mail by SMTP; one connection at a time, kept from message to message until closed. Not thread-safe."""

    name = "smtp"

    def __init__(
        self,
        *,
        sender: str,
        host: str,
        port: int,
        security: str,
        user: str | None,
        password: str | None,
        ca_file: Path | None,
        timeout_s: float,
    ) -> None:
        self.lease = timedelta(seconds=timeout_s * REPLIES_PER_MESSAGE)
        self._sender = sender
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._security, self._user, self._password = security, user, password
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._connection: smtplib.SMTP | None = None
        self._sent = 0

    def send(self, message: Email) -> str | None:
        composed = compose(message, self._sender)
        try:
            self._hand_over(composed)
        except DeliveryFailed:
            raise
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            raise _refusal("recipient_refused", code, words) from None
        except smtplib.SMTPDataError as error:
            raise _refusal("message_refused", error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPSenderRefused as error:
            self._drop()
            if error.smtp_code == 552:
                raise _refusal("message_refused", 552, error.smtp_error) from None
            raise ProviderAway("sender_refused", _words(error.smtp_code, error.smtp_error)) from None
        except (smtplib.SMTPNotSupportedError, MessageError, UnicodeError):
            raise PermanentFailure("address_not_supported") from None
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise ProviderAway("connection_lost", type(error).__name__) from None
        return str(composed["Message-ID"])

    def close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.quit()
            except (smtplib.SMTPException, OSError):
                self._connection.close()
            self._connection = None

    def _drop(self) -> None:
        """Without a goodbye, for which a server in trouble would keep us waiting."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _hand_over(self, message: EmailMessage) -> None:
        if self._sent >= MESSAGES_PER_CONNECTION:
            self.close()
        if self._connection is None:
            self._connection, self._sent = self._connect(), 0
        self._sent += 1
        self._connection.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        connection: smtplib.SMTP | None = None
        try:
            if self._security == "tls":
                connection = smtplib.SMTP_SSL(
                    self._host, self._port, timeout=self._timeout_s, context=self._tls
                )
            else:
                connection = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
            if self._security == "starttls":
                connection.starttls(context=self._tls)
            if self._user:
                connection.login(self._user, self._password or "")
        except (smtplib.SMTPException, OSError) as error:
            if connection is not None:
                connection.close()
            raise ProviderAway("no_connection", f"{type(error).__name__}: {_words_of(error)}") from None
        return connection


def _refusal(reason: str, code: int, words: bytes | str) -> DeliveryFailed:
    kind = PermanentFailure if 500 <= code < 600 else TemporaryFailure
    return kind(reason, _words(code, words))


def _words(code: int, words: bytes | str) -> str:
    told = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return one_line(f"{code} {told}")[:200]


def _words_of(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _words(error.smtp_code, error.smtp_error)
    return one_line(str(error))[:200]


class EmailSink:
    """Instead of a mail server: one .eml per message in a folder, or only a log line when there is no folder."""

    name = "sink"
    lease = SINK_LEASE

    def __init__(self, folder: Path | None, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    def send(self, message: Email) -> str | None:
        composed = compose(message, self._sender)
        try:
            content = composed.as_bytes()
        except (MessageError, UnicodeError):
            raise PermanentFailure("address_not_supported") from None
        if self._folder is not None:
            write_whole(self._folder / f"{message.id}.eml", content)
        log.info("email", extra={"delivery_id": message.id, "to": _masked(message.to)})
        return str(composed["Message-ID"])

    def close(self) -> None:
        pass


class SmsSink:
    """Instead of an SMS gateway: one .json per message in a folder, or only a log line when there is no folder."""

    name = "sink"
    lease = SINK_LEASE

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def send(self, message: Sms) -> str | None:
        if self._folder is not None:
            document = {
                "id": message.id,
                "to": message.to,
                "body": message.body,
                "sent_at": clock.rfc3339(clock.now()),
            }
            write_whole(self._folder / f"{message.id}.json", orjson.dumps(document))
        log.info("sms", extra={"delivery_id": message.id, "to": _masked(message.to)})
        return None

    def close(self) -> None:
        pass


def write_whole(path: Path, content: bytes) -> None:
    """A file that is there with all its content or not at all. Raises ProviderAway."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(part).replace(path)
    except OSError as error:
        raise ProviderAway("sink_not_writable", error.strerror or "") from None
