"""The relay: publishes the outbox's rows in the order of their ids, and marks those that the broker confirmed.

A crash between confirmation and mark publishes again; the consumers' inboxes see to that. A row that is returned or
refused waits longer each time and holds nobody up.
"""

import heapq
import logging
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime
from typing import NamedTuple

from flask import Flask
from pika.exceptions import ChannelClosedByBroker
from pika.spec import BasicProperties
from sqlalchemy import Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from common import clock, contracts
from common.db import reading, transaction
from common.db.tables import Outbox
from common.messaging import metrics
from common.messaging.broker import BROKER_AWAY, Outage, parameters
from common.messaging.envelope import CONTENT_TYPE
from common.messaging.publisher import Message, Publisher, Receipt
from common.messaging.topology import Topology
from common.settings import Settings

log = logging.getLogger(__name__)

BATCH = 500
"""Rows read, sent and marked at once; twice as many may be on their way."""
POLL_S = 1.0
MAX_BODY = 4 * 1024 * 1024
"""For a body above its own limit the broker closes the channel under all others."""

_DUE_BATCH = 100
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_TOPOLOGY_AGAIN_AFTER_S = 10.0


class Pending(NamedTuple):
    """A row that waits to be published."""

    id: str
    type: str
    body: str
    created_at: datetime
    attempts: int


_PENDING = (
    select(Outbox.id, Outbox.type, Outbox.body, Outbox.created_at, Outbox.attempts)
    .where(Outbox.published_at.is_(None))
    .order_by(Outbox.id)
)
_FRESH = _PENDING.where(Outbox.attempts == 0).limit(BATCH)
_FAILED_BEFORE = select(Outbox.id).where(Outbox.published_at.is_(None), Outbox.attempts > 0)


def record(receipt: Receipt) -> None:
    """Write down what became of a batch; safe to repeat."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for row_id, reason in receipt.failed.items():
        reasons[reason[:300]].append(row_id)
    with transaction() as session:
        if receipt.confirmed:
            session.execute(
                update(Outbox).where(Outbox.id.in_(receipt.confirmed)).values(published_at=clock.now()),
                execution_options={"synchronize_session": False},
            )
        for reason, row_ids in reasons.items():
            session.execute(
                update(Outbox)
                .where(Outbox.id.in_(row_ids))
                .values(attempts=Outbox.attempts + 1, last_error=reason),
                execution_options={"synchronize_session": False},
            )


class Relay:
    """One thread runs it; others `wake` it and say whether it `leads`."""

    def __init__(self, app: Flask, settings: Settings, topology: Topology, stop: threading.Event) -> None:
        self.leads = threading.Event()
        self.connected = False
        self._app = app
        self._service = settings.SERVICE
        self._parameters = parameters(settings.rabbitmq_url, f"{settings.SERVICE}.relay")
        self._topology = topology
        self._stop = stop
        self._rung = threading.Event()
        self._publisher: Publisher | None = None
        self._suspects = 0
        self._on_their_way: dict[str, Pending] = {}
        self._unrecorded: list[Receipt] = []
        self._held: list[tuple[float, str]] | None = None  # None: to be read again

    def wake(self) -> None:
        """There are new rows, or a reason to look at `leads` and at whether to stop."""
        self._rung.set()
        publisher = self._publisher
        if publisher is not None:
            publisher.wake()

    def run(self) -> None:
        """Relay whenever this process leads and the broker is there, until stopped."""
        outage = Outage("relay")
        with self._app.app_context():
            while not self._stop.is_set():
                if not self.leads.is_set():
                    self._rung.wait(POLL_S)
                    self._rung.clear()
                    continue
                try:
                    self._relay(outage)
                except BROKER_AWAY as error:
                    if not self._stop.is_set():
                        self._stop.wait(outage.failed(error))
                except Exception as error:
                    log.exception("relay: unexpected failure")
                    self._stop.wait(outage.failed(error))

    def _relay(self, outage: Outage) -> None:
        told = False
        self._topology.ensure(outage.began_at, self._stop.is_set)
        publisher = Publisher(self._parameters, self._stop.is_set)
        try:
            publisher.connect()
            self._publisher, self.connected = publisher, True
            self._held = None
            self._on_their_way.clear()
            while self.leads.is_set() and not self._stop.is_set():
                self._rung.clear()
                try:
                    more = self._round(publisher)
                except SQLAlchemyError as error:
                    log.log(
                        logging.DEBUG if told else logging.WARNING,
                        "relay: the database is not available (%s)",
                        type(error).__name__,
                    )
                    told, self._held = True, None
                    publisher.pump(POLL_S)
                    continue
                publisher.pump(0 if more or self._rung.is_set() else self._idle_for())
                outage.over()
                told = False
        finally:
            self._publisher, self.connected = None, False
            publisher.close()

    def _round(self, publisher: Publisher) -> bool:
        """Publish what is new and a few of what failed before; returns whether there may be more already.

        While one batch is being confirmed the next is read and sent. A row with an id behind the batch before it (its
        transaction took longer) is for the next round.
        """
        self._record()
        self._settle(publisher, 0)  # what a database error left on its way
        if self._held is None:
            self._held = [(time.monotonic(), row_id) for row_id in _read_ids(_FAILED_BEFORE)]
        last_id, until = "", time.monotonic() + POLL_S
        while True:
            fresh = _read(_FRESH.where(Outbox.id > last_id))
            full = len(fresh) == BATCH and time.monotonic() < until and not self._stop.is_set()
            self._publish(publisher, fresh, keep=BATCH if full else 0)
            if not full:
                break
            last_id = fresh[-1].id
        due = self._due(self._held)
        self._publish(publisher, due, keep=0)
        return len(fresh) == BATCH or len(due) == _DUE_BATCH

    def _due(self, held: list[tuple[float, str]]) -> list[Pending]:
        """The rows that failed before and have waited long enough."""
        now = time.monotonic()
        row_ids: list[str] = []
        while held and held[0][0] <= now and len(row_ids) < _DUE_BATCH:
            row_ids.append(heapq.heappop(held)[1])
        return _read(_PENDING.where(Outbox.id.in_(row_ids))) if row_ids else []

    def _publish(self, publisher: Publisher, rows: list[Pending], keep: int) -> None:
        """Publish rows, and wait until at most `keep` are on their way."""
        if self._suspects:
            for row in rows:
                self._send(publisher, [row])
                self._settle(publisher, 0)
        else:
            self._send(publisher, rows)
            self._settle(publisher, keep)

    def _send(self, publisher: Publisher, rows: list[Pending]) -> None:
        self._on_their_way.update((row.id, row) for row in rows)
        unfit = {row.id: reason for row in rows if (reason := self._why_unfit(row)) is not None}
        self._conclude(Receipt(failed=unfit))
        publisher.send([self._message(row) for row in rows if row.id not in unfit])

    def _settle(self, publisher: Publisher, keep: int) -> None:
        receipt = publisher.settle(keep)
        self._isolate(publisher, receipt)
        self._conclude(receipt)

    def _conclude(self, receipt: Receipt) -> None:
        """Write down what became of rows, and let those wait that failed."""
        confirmed = [self._on_their_way.pop(row_id) for row_id in receipt.confirmed]
        failed = [self._on_their_way.pop(row_id) for row_id in receipt.failed]
        if not confirmed and not failed:
            return
        self._suspects = max(0, self._suspects - len(confirmed) - len(failed))
        self._unrecorded.append(receipt)
        _observe(confirmed, failed)
        self._record()
        if failed:
            self._hold(failed)
            log.warning("relay: %d events wait: %s", len(failed), next(iter(receipt.failed.values())))
            # Perhaps the broker has lost a queue that the topology has.
            self._topology.ensure(time.monotonic() - _TOPOLOGY_AGAIN_AFTER_S, self._stop.is_set)

    def _isolate(self, publisher: Publisher, receipt: Receipt) -> None:
        """When the broker closes the channel over a message it does not say which: try all that it may be singly."""
        if not isinstance(publisher.lost, ChannelClosedByBroker):
            return
        suspects = self._on_their_way.keys() - set(receipt.failed) - set(receipt.confirmed)
        if len(suspects) == 1:
            receipt.failed[suspects.pop()] = f"refused by the broker: {publisher.lost.reply_text}"
        else:
            self._suspects = len(suspects)

    def _hold(self, rows: list[Pending]) -> None:
        """Let rows wait, longer each time."""
        for row in rows:
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(row.attempts, 16))
            if self._held is not None:
                heapq.heappush(self._held, (time.monotonic() + pause, row.id))

    def _record(self) -> None:
        while self._unrecorded:
            record(self._unrecorded[0])
            del self._unrecorded[0]

    def _idle_for(self) -> float:
        next_due = self._held[0][0] - time.monotonic() if self._held else POLL_S
        return max(0.0, min(POLL_S, next_due))

    def _why_unfit(self, row: Pending) -> str | None:
        """Why a row cannot even be tried: the broker would close the channel under all others."""
        try:
            producer = contracts.producer_of(row.type)
        except contracts.UnknownEvent:
            return "no published contract names this type"
        if producer != self._service:
            return f"events of this type are {producer}'s"
        return "larger than a message may be" if len(row.body) > MAX_BODY else None

    def _message(self, row: Pending) -> Message:
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            delivery_mode=2,
            message_id=row.id,
            type=row.type,
            app_id=self._service,
            timestamp=int(row.created_at.timestamp()),
        )
        return Message(contracts.exchange_of(self._service), row.type, row.body.encode(), properties)


def _read(statement: Select[str, str, str, datetime, int]) -> list[Pending]:
    with reading() as session:
        return [Pending._make(row) for row in session.execute(statement)]


def _read_ids(statement: Select[str]) -> list[str]:
    with reading() as session:
        return list(session.scalars(statement))


def _observe(confirmed: list[Pending], failed: list[Pending]) -> None:
    now = clock.now()
    for row in confirmed:
        metrics.RELAY_LAG.observe(max(0.0, (now - row.created_at).total_seconds()))
    for event_type, count in Counter(row.type for row in confirmed).items():
        metrics.PUBLISHED.labels(event_type).inc(count)
    for event_type, count in Counter(row.type for row in failed).items():
        metrics.PUBLISH_FAILED.labels(event_type).inc(count)
