"""E-mail by SMTP, and the sink of development.

A provider gets each message at least once: a crash after the call and before the settlement calls again. The message's
`id` (Message-ID, file name) is the same each time, so that a repeat can be known as one.
"""

import logging
import smtplib
import ssl
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path

from notification.gateway.base import (
    SINK_LEASE,
    DeliveryFailed,
    Email,
    OutcomeUnknown,
    PermanentFailure,
    ProviderAway,
    TemporaryFailure,
    masked,
    one_line,
    write_whole,
)
from notification.gateway.mime import address_of, compose, message_id

log = logging.getLogger(__name__)

REPLIES_PER_MESSAGE = 12
"""At most so many times an SMTP exchange, from connecting to the end of the message, waits for a reply."""
MESSAGES_PER_CONNECTION = 100
"""Mail servers close connections that never end; a fresh one now and then costs less than a retry."""


class SmtpProvider:
    """E-mail by SMTP; one connection at a time, kept from message to message until closed. Not thread-safe."""

    def __init__(
        self,
        *,
        name: str = "smtp",
        sender: str,
        host: str,
        port: int,
        security: str,
        user: str | None,
        password: str | None,
        ca_file: Path | None,
        timeout_s: float,
    ) -> None:
        self.name = name
        self.lease = timedelta(seconds=timeout_s * REPLIES_PER_MESSAGE)
        self._sender = sender
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._security, self._user, self._password = security, user, password
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._connection: smtplib.SMTP | None = None
        self._sent = 0

    def send(self, message: Email) -> str | None:
        content = compose(message, self._sender)
        try:
            self._hand_over(address_of(message), content)
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
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise OutcomeUnknown("connection_lost", type(error).__name__) from None
        return message_id(message, self._sender)

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

    def _hand_over(self, address: str, content: bytes) -> None:
        if self._sent >= MESSAGES_PER_CONNECTION:
            self.close()
        if self._connection is None:
            self._connection, self._sent = self._connect(), 0
        self._sent += 1
        self._connection.sendmail(parseaddr(self._sender)[1], [address], content)

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
        content = compose(message, self._sender)
        if self._folder is not None:
            write_whole(self._folder / f"{message.id}.eml", content)
        log.info("email", extra={"delivery_id": message.id, "to": masked(message.to)})
        return message_id(message, self._sender)

    def close(self) -> None:
        pass
