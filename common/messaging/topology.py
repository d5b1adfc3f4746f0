"""Every exchange, queue and binding of the platform, from the published contracts; declared in this one place.

Each worker declares all of it, other services' queues too, before it publishes or consumes: so no event is ever
published before every consumer's queue is bound, whoever starts first. Changing the arguments of a queue that exists
is refused by the broker: a change needs a new queue name.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pika
import pika.exceptions

from common import contracts
from common.messaging.broker import parameters

log = logging.getLogger(__name__)

RETRY_DELAYS: tuple[tuple[str, int], ...] = (
    ("1s", 1_000),
    ("10s", 10_000),
    ("60s", 60_000),
    ("10m", 600_000),
)
"""A message that fails waits in `<queue>.retry.<name>` for so many ms: first in the first, then in the next."""

_NO_DELIVERY_LIMIT = 1_000_000
"""RabbitMQ 4 drops a message after 20 returns unless told otherwise; our own count decides (and listing returns)."""


@dataclass(frozen=True)
class Queue:
    """A queue as it is declared."""

    name: str
    arguments: dict[str, Any]


def dead_queue(queue: str) -> str:
    return f"{queue}.dead"


def retry_queue(queue: str, retries: int) -> str | None:
    """Where a message waits that failed after so many retries; None when it has used them up."""
    return f"{queue}.retry.{RETRY_DELAYS[retries][0]}" if retries < len(RETRY_DELAYS) else None


def exchanges() -> list[str]:
    return [contracts.exchange_of(producer) for producer in contracts.producers()]


def queues() -> Iterator[Queue]:
    """The queues of all services with their retry and dead queues."""
    for name in contracts.queues():
        yield main_queue(name)
        for delay, milliseconds in RETRY_DELAYS:
            arguments = _quorum() | _dead_lettering(name) | {"x-message-ttl": milliseconds}
            yield Queue(f"{name}.retry.{delay}", arguments)
        yield Queue(dead_queue(name), _quorum())


def main_queue(name: str) -> Queue:
    """A queue that services consume."""
    return Queue(name, _quorum() | _dead_lettering(dead_queue(name)))


def bindings() -> Iterator[tuple[str, str, str]]:
    """(exchange, queue, routing key) of every binding."""
    for name in contracts.queues():
        for exchange, routing_key in contracts.bindings(name):
            yield exchange, name, routing_key


def _quorum() -> dict[str, Any]:
    return {"x-queue-type": "quorum", "x-delivery-limit": _NO_DELIVERY_LIMIT}


def _dead_lettering(target: str) -> dict[str, Any]:
    """At least once, which the broker only does for queues that refuse rather than drop when full."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": target,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


class Topology:
    """Sees to it that everything is there; shared by the threads of a process, which take turns."""

    def __init__(self, url: str, mode: str, name: str) -> None:
        self._parameters = parameters(url, name)
        self._expect = mode == "expect"
        self._lock = threading.Lock()
        self._ensured_at = float("-inf")

    def ensure(self, since: float, stopped: Callable[[], bool]) -> None:
        """Have all of it there, unless that was done after `since` (monotonic: when the caller lost its broker).

        Declares, or waits until it has been declared for us. Raises pika's errors when the broker is away.
        """
        with self._lock:
            if self._ensured_at > since:
                return
            began = time.monotonic()
            connection = pika.BlockingConnection(self._parameters)
            try:
                if self._expect:
                    _wait_for(connection, stopped)
                else:
                    declare(connection)
            finally:
                if connection.is_open:
                    connection.close()
            self._ensured_at = began


def declare(connection: pika.BlockingConnection) -> None:
    """Declare everything; what is there already stays as it is."""
    with connection.channel() as channel:
        for exchange in exchanges():
            channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        for queue in queues():
            channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        for exchange, queue_name, routing_key in bindings():
            channel.queue_bind(queue_name, exchange, routing_key)


def missing(connection: pika.BlockingConnection) -> str | None:
    """What the broker says of the first exchange or queue that it does not have, or None."""
    channel = connection.channel()
    try:
        for exchange in exchanges():
            channel.exchange_declare(exchange, passive=True)
        for queue in queues():
            channel.queue_declare(queue.name, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return error.reply_text
    channel.close()
    return None


def _wait_for(connection: pika.BlockingConnection, stopped: Callable[[], bool]) -> None:
    told = None
    while (absent := missing(connection)) is not None and not stopped():
        if absent != told:
            log.warning("waiting for the broker's definitions: %s", absent)
            told = absent
        connection.sleep(1.0)
