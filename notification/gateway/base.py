"""Messages on their way out, what a provider of a channel must do, and what it raises when it cannot."""

import os
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

SINK_LEASE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Wording:
    """Which words a message carries: the version of their text, and their SHA-256; none of words with a code in them,
    which could be guessed from it."""

    version: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Email:
    """`unsubscribe_url` is where one click takes the reader off the list; none for what cannot be switched off."""

    id: str
    to: str
    name: str
    language: str
    subject: str
    text: str
    html: str
    unsubscribe_url: str | None = None
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class Sms:
    id: str
    to: str
    body: str
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """A message to one browser. `keys` are those of its subscription."""

    id: str
    endpoint: str
    p256dh: str
    auth: str
    payload: bytes
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class WebhookCall:
    id: str
    url: str
    secret: str
    payload: bytes
    wording: Wording | None = None


M = TypeVar("M", contravariant=True)


class Provider(Protocol[M]):
    """Carries messages of one channel. `name` is kept with each attempt; a call that has not ended within `lease`
    died with its process. One instance is used by one thread at a time."""

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
    """No message gets through now: leave the others alone, too. Another provider may take this one at once."""


class OutcomeUnknown(ProviderAway):
    """The call ended in the middle: it may have been taken, so no other provider gets it at once."""


class PermanentFailure(DeliveryFailed):
    """This message never."""


def one_line(text: str) -> str:
    """Without line breaks and control characters, which could end a header and begin another."""
    return " ".join("".join(char if char.isprintable() or char == "\u200d" else " " for char in text).split())


def masked(address: str) -> str:
    """Enough of an address to recognise it in a log or a list."""
    local, at, domain = address.partition("@")
    return f"{local[:1]}***@{domain}" if at else f"***{address[-3:]}"


def masked_url(url: str) -> str:
    """Whose it is, without a path or query that may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/***"


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
