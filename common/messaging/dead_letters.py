"""What an operator does with dead messages: look, send back to their queue, throw away.

Looking takes messages without acknowledging them; they return to the queue when the channel closes (in any order), a
moment after the broker has said that it is closed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from common.messaging import letters
from common.messaging.broker import parameters
from common.messaging.topology import dead_queue

_BACK_WITHIN = 5.0
"""Seconds that what was looked at may take to be in its queue again."""


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead queue."""

    queue: str
    tag: int
    properties: BasicProperties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return dict(self.properties.headers or {})

    @property
    def event_id(self) -> str:
        """The event's id; the message's when the body is not a document with one."""
        document = self.document()
        found = document.get("id") if isinstance(document, dict) else None
        return found if isinstance(found, str) else self.properties.message_id or ""

    def document(self) -> Any:
        """The body as JSON; as text when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return self.body.decode("utf-8", "replace")

    def summary(self) -> dict[str, Any]:
        """What the list shows."""
        return {
            "queue": self.queue,
            "event_id": self.event_id,
            "type": self.headers.get(letters.EVENT_TYPE, ""),
            "error": self.headers.get(letters.ERROR, ""),
            "reason": self.headers.get(letters.REASON, ""),
            "retries": letters.retries(self.properties),
            "first_failed_at": self.headers.get(letters.FIRST_FAILED_AT, ""),
            "dead_at": self.headers.get(letters.DEAD_AT, ""),
        }


@contextmanager
def opened(url: str) -> Iterator[pika.BlockingConnection]:
    """A connection for one command. Raises pika's errors when the broker cannot be reached."""
    connection = pika.BlockingConnection(parameters(url, "dead letters"))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


@contextmanager
def letters_of(connection: pika.BlockingConnection, queue: str) -> Iterator["Pile"]:
    """The dead messages of a queue; those that are neither replayed nor dropped are back when the block has ended."""
    channel = connection.channel()
    channel.confirm_delivery()
    pile = Pile(channel, queue)
    try:
        yield pile
    finally:
        if channel.is_open:
            channel.close()
            _back(connection, pile)


def _back(connection: pika.BlockingConnection, pile: "Pile") -> None:
    """Wait until the next look would meet what was left, unless somebody else takes it first."""
    if not pile.left:
        return
    deadline = time.monotonic() + _BACK_WITHIN
    with connection.channel() as channel:
        while _waiting(channel, pile.source) < pile.left and time.monotonic() < deadline:
            connection.sleep(0.01)


def _waiting(channel: BlockingChannel, queue: str) -> int:
    return channel.queue_declare(queue, passive=True).method.message_count or 0


class Pile:
    """The dead messages of one queue, each once."""

    def __init__(self, channel: BlockingChannel, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self.source = dead_queue(queue)
        self.left = 0
        """Those of the beginning that were neither replayed nor dropped, met or not."""

    def __len__(self) -> int:
        """How many wait that were not met yet."""
        return _waiting(self._channel, self.source)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Those that were there at the beginning: what dies again meanwhile is not met twice."""
        self.left = len(self)
        for _ in range(self.left):
            method, properties, body = self._channel.basic_get(self.source)
            if method is None or properties is None:
                return
            yield DeadLetter(self._queue, method.delivery_tag or 0, properties, body or b"")

    def replay(self, letter: DeadLetter) -> None:
        """Send it back to its queue with all its retries; it leaves the dead queue once that is confirmed."""
        properties = letters.replayed(letter.properties)
        self._channel.basic_publish("", self._queue, letter.body, properties, mandatory=True)
        self._gone(letter)

    def drop(self, letter: DeadLetter) -> None:
        """Throw it away for good."""
        self._gone(letter)

    def _gone(self, letter: DeadLetter) -> None:
        self._channel.basic_ack(letter.tag)
        self.left -= 1
