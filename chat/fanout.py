"""Chat processes behave as one: what one tells its clients, the others tell theirs, through a RabbitMQ fanout exchange.

Best effort. Telling never waits for the broker: it goes through a short queue in memory, and what is too old or too
much is dropped. Clients are had to compare `last_seq` wherever something may have been missed: in a process that
subscribes (again), and in all others once a process that could not tell them can again. So nothing stays unseen.

Not Flask-SocketIO's `message_queue=`: its kombu manager publishes inside `emit`, hangs there while the broker is
down, and uses one connection from all green threads at once.
"""

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
from kombu.exceptions import KombuError
from prometheus_client import Counter
from socketio import PubSubManager

from common import ids
from common.messaging.broker import Outage

log = logging.getLogger(__name__)

EXCHANGE = "chat.socketio"
CATCH_UP = "catch_up"
"""Beside the methods of `PubSubManager`, which ignores what it does not know."""
WAITING_AT_MOST = 2000
TOO_OLD_S = 5.0
HEARTBEAT_S = 10
BROKER_AWAY = (OSError, amqp.AMQPError, KombuError)

DROPPED = Counter(
    "chat_fanout_dropped_total", "What other chat processes were not told; clients fetch it", ["why"]
)


class Fanout(PubSubManager):  # type: ignore[misc]
    """The Socket.IO server's client manager. `catch_up` is called whenever other processes may have gone unheard.

    `write_only`: of a process without clients of its own, the worker; it publishes from the first thing told.
    """

    name = "rabbitmq"

    def __init__(self, url: str, *, write_only: bool = False) -> None:
        super().__init__(channel=EXCHANGE, write_only=write_only)
        self._publishing = False
        self.catch_up: Callable[[], None] = lambda: None
        self._url = url
        self._waiting: queue.Queue[tuple[float, str]] = queue.Queue(WAITING_AT_MOST)
        self._gap = False

    def initialize(self) -> None:
        super().initialize()
        self._begin_publishing()

    def _begin_publishing(self) -> None:
        if not self._publishing:
            self._publishing = True
            self.server.start_background_task(self._publish_waiting)

    def flush(self, within: float) -> None:
        """Wait until everything has been handed to the broker, or for so many seconds."""
        deadline = time.monotonic() + within
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.02)

    def _publish(self, data: dict[str, Any]) -> None:
        self._begin_publishing()
        try:
            self._waiting.put_nowait((time.monotonic(), self.json.dumps(data)))
        except queue.Full:
            self._drop("full")

    def _drop(self, why: str) -> None:
        DROPPED.labels(why).inc()
        self._gap = True

    def _publish_waiting(self) -> None:
        outage = Outage(f"{EXCHANGE} publisher")
        while True:
            try:
                with self._connection() as connection:
                    producer = kombu.Producer(connection.channel(), _exchange())
                    producer.declare()
                    outage.over()
                    self._publish_over(connection, producer)
            except Exception as error:  # noqa: BLE001 (a connection that breaks raises more than BROKER_AWAY)
                self._gap = True
                time.sleep(outage.failed(error))

    def _publish_over(self, connection: kombu.Connection, producer: kombu.Producer) -> None:
        """Publish until the connection breaks, which an idle one notices within a second."""

        def publish(document: str) -> None:
            producer.publish(document, content_type="application/json", delivery_mode=1, retry=False)

        while True:
            if self._gap and self._waiting.empty():
                publish(self.json.dumps({"method": CATCH_UP, "host_id": self.host_id}))
                self._gap = False
            try:
                told_at, document = self._waiting.get(timeout=1.0)
            except queue.Empty:
                _pump(connection, 0.01)
                continue
            try:
                if time.monotonic() - told_at > TOO_OLD_S:
                    self._drop("old")
                else:
                    publish(document)
            except Exception:
                self._drop("broker")
                raise
            finally:
                self._waiting.task_done()

    def _listen(self) -> Iterator[dict[str, Any]]:
        """What other processes told (and this one: the base class leaves that out), whatever the broker does."""
        outage = Outage(f"{EXCHANGE} listener")
        while True:
            try:
                with self._connection() as connection:
                    yield from self._hear(connection, outage)
            except BROKER_AWAY as error:
                time.sleep(outage.failed(error))

    def _hear(self, connection: kombu.Connection, outage: Outage) -> Iterator[dict[str, Any]]:
        arrived: list[str | bytes] = []
        mailbox = kombu.Queue(
            f"{EXCHANGE}.{ids.new_id()}", _exchange(), durable=False, exclusive=True, auto_delete=True
        )
        consumer = kombu.Consumer(
            connection, mailbox, no_ack=True, on_message=lambda message: arrived.append(message.body)
        )
        with consumer:
            outage.over()
            log.info("fan-out subscribed")
            self.catch_up()
            while True:
                _pump(connection, 2.0)
                told, arrived[:] = [self.json.loads(body) for body in arrived], []
                for message in told:
                    if message.get("method") != CATCH_UP:
                        yield message
                    elif message.get("host_id") != self.host_id:
                        self.catch_up()

    def _connection(self) -> kombu.Connection:
        """A connection of its own for each of the two tasks: kombu's are not to be shared."""
        connection = kombu.Connection(
            self._url,
            heartbeat=HEARTBEAT_S,
            connect_timeout=3,
            transport_options={
                "read_timeout": 5,
                "write_timeout": 5,
                "client_properties": {"connection_name": EXCHANGE},
            },
        )
        connection.connect()
        return connection


def _exchange() -> kombu.Exchange:
    return kombu.Exchange(EXCHANGE, type="fanout", durable=False)


def _pump(connection: kombu.Connection, seconds: float) -> None:
    """Serve the connection for so long, heartbeats too. Raises when it is gone."""
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=seconds)
    connection.heartbeat_check(rate=2)
