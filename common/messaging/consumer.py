"""One queue's consumer: takes messages, has them handled, acknowledges after the commit.

What fails is published anew, confirmed, to a retry queue or the dead queue before it is acknowledged; so a message is
at every moment in some queue. While the database is away nothing is acknowledged, nothing counts as a failure.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from typing import NamedTuple

import pika
from flask import Flask
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from common.messaging import handling, letters, metrics
from common.messaging.broker import BROKER_AWAY, BrokerTrouble, Outage, parameters
from common.messaging.handling import Again, DatabaseAway, Dead, Handlers, Outcome
from common.messaging.topology import Topology, dead_queue, retry_queue
from common.settings import Settings

log = logging.getLogger(__name__)

PREFETCH = 4 * handling.BATCH
POLL_S = 0.25
SUSPECT_AFTER = 5
"""A message that comes back so often, and is the first of a connection, has probably killed its worker each time."""
_DATABASE_PAUSE_S = 1.0
_PUMP_EVERY_S = 1.0


class Delivery(NamedTuple):
    """A message in hand."""

    tag: int
    properties: BasicProperties
    body: bytes


class Consumer:
    """One thread runs it."""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        queue: str,
        handlers: Handlers,
        topology: Topology,
        stop: threading.Event,
    ) -> None:
        self.queue = queue
        self.connected = False
        self._app = app
        self._parameters = parameters(settings.rabbitmq_url, f"{settings.SERVICE}.worker {queue}")
        self._handlers = handlers
        self._topology = topology
        self._stop = stop

    def run(self) -> None:
        """Consume whenever the broker is there, until stopped."""
        outage = Outage(self.queue)
        with self._app.app_context():
            while not self._stop.is_set():
                try:
                    self._topology.ensure(outage.began_at, self._stop.is_set)
                    self._consume(outage)
                except BROKER_AWAY as error:
                    if not self._stop.is_set():
                        self._stop.wait(outage.failed(error))
                except Exception as error:
                    log.exception("%s: unexpected failure", self.queue)
                    self._stop.wait(outage.failed(error))

    def _consume(self, outage: Outage) -> None:
        connection = pika.BlockingConnection(self._parameters)
        try:
            hand = _Hand(connection, self.queue)
            self.connected = True
            while not self._stop.is_set():
                connection.process_data_events(time_limit=POLL_S)
                self._work_off(hand)
                outage.over()
        finally:
            self.connected = False
            with contextlib.suppress(*BROKER_AWAY):
                connection.close()

    def _work_off(self, hand: "_Hand") -> None:
        hand.check()
        while hand.deliveries and not self._stop.is_set():
            fresh = hand.fresh(handling.BATCH)
            done = handling.handle_batch(self.queue, self._handlers, [each.body for each in fresh])
            if done:
                hand.acknowledge(done)
                hand.pump_if_due()
                continue
            for _ in range(max(1, len(fresh))):
                self._work_off_one(hand)
                hand.pump_if_due()

    def _work_off_one(self, hand: "_Hand") -> None:
        """Handle and acknowledge the next message, unless told to stop."""
        delivery = hand.deliveries[0]
        outcome = hand.suspicion(delivery) or self._handled(hand, delivery)
        if outcome is not None:
            self._settle(hand, delivery, outcome)

    def _handled(self, hand: "_Hand", delivery: Delivery) -> Outcome | None:
        """The outcome, however long the database takes to come back; None when told to stop meanwhile."""
        told = False
        while not self._stop.is_set():
            try:
                return handling.handle(self.queue, self._handlers, delivery.body)
            except DatabaseAway as error:
                if not told:
                    log.warning("%s: waiting for the database (%s)", self.queue, error)
                told = True
                hand.wait(_DATABASE_PAUSE_S)
        return None

    def _settle(self, hand: "_Hand", delivery: Delivery, outcome: Outcome) -> None:
        if isinstance(outcome, Again):
            target = retry_queue(self.queue, letters.retries(delivery.properties))
            if target is not None:
                hand.publish(target, delivery, letters.put_off(delivery.properties, self._story(outcome)))
                metrics.RETRIED.labels(self.queue, outcome.error).inc()
                log.info(
                    "%s: a message waits in %s (%s)",
                    self.queue,
                    target,
                    outcome.error,
                    extra=_about(delivery),
                )
            else:
                outcome = Dead("exhausted", outcome.error, outcome.reason, outcome.event_type)
        if isinstance(outcome, Dead):
            hand.publish(
                dead_queue(self.queue), delivery, letters.buried(delivery.properties, self._story(outcome))
            )
            metrics.DEAD.labels(self.queue, outcome.cause).inc()
            log.error(
                "%s: a message is dead (%s, %s)",
                self.queue,
                outcome.cause,
                outcome.error,
                extra=_about(delivery),
            )
        hand.acknowledge(1)

    def _story(self, outcome: Again | Dead) -> letters.Story:
        return letters.Story(self.queue, outcome.event_type, outcome.error, outcome.reason)


class _Hand:
    """What one connection has given us: messages not yet acknowledged, and a channel to publish on."""

    def __init__(self, connection: pika.BlockingConnection, queue: str) -> None:
        self.deliveries: deque[Delivery] = deque()
        self._connection = connection
        self._out: BlockingChannel | None = None
        self._first = True
        self._cancelled = False
        self._pumped_at = time.monotonic()
        self._channel = connection.channel()
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.add_on_cancel_callback(self._on_cancel)
        self._channel.basic_consume(queue, self._on_message)

    def _on_message(
        self, _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        self.deliveries.append(Delivery(method.delivery_tag or 0, properties, body))

    def _on_cancel(self, _frame: object) -> None:
        self._cancelled = True

    def check(self) -> None:
        """Raise when the broker gives us nothing any more; pika does not as long as the connection stands."""
        if self._cancelled:
            raise BrokerTrouble("the broker cancelled the consumer: the queue was deleted, or moved")
        if not self._channel.is_open:
            raise BrokerTrouble("the broker closed the channel")

    def suspicion(self, delivery: Delivery) -> Again | None:
        """The first message after a worker died is the one it had in hand: put it off, let the others pass."""
        first, self._first = self._first, False
        if first and came_back(delivery) >= SUSPECT_AFTER:
            return Again("WorkerDied", f"came back {came_back(delivery)} times without an answer", "")
        return None

    def publish(self, queue: str, delivery: Delivery, properties: BasicProperties) -> None:
        """Put the message into another queue; returns when the broker has confirmed it, else raises."""
        if self._out is None:
            self._out = self._connection.channel()
            self._out.confirm_delivery()
        self._out.basic_publish("", queue, delivery.body, properties, mandatory=True)

    def fresh(self, most: int) -> list[Delivery]:
        """The messages at the front that were never delivered before: those may be handled together.

        One that killed a worker comes back: handled alone it is the first that is not acknowledged.
        """
        return list(
            itertools.takewhile(lambda each: not came_back(each), itertools.islice(self.deliveries, most))
        )

    def acknowledge(self, count: int) -> None:
        """The first so many messages are settled."""
        for _ in range(count):
            delivery = self.deliveries.popleft()
        self._channel.basic_ack(delivery.tag, multiple=True)

    def wait(self, seconds: float) -> None:
        """Let time pass without the broker taking us for dead."""
        self._connection.sleep(seconds)

    def pump_if_due(self) -> None:
        """Answer heartbeats in the middle of a long row of messages."""
        if time.monotonic() - self._pumped_at > _PUMP_EVERY_S:
            self._connection.process_data_events()
            self._pumped_at = time.monotonic()


def _about(delivery: Delivery) -> dict[str, str | None]:
    return {"message_id": delivery.properties.message_id, "event_type": delivery.properties.type}


def came_back(delivery: Delivery) -> int:
    """How often the message came back to its queue unanswered (quorum queues count it)."""
    found = (delivery.properties.headers or {}).get("x-delivery-count")
    return found if isinstance(found, int) else 0
