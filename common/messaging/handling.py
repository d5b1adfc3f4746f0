"""Messages against the database: what became of them, without a word of AMQP.

A message is handled in one transaction with its inbox row, whose key decides who was first. Several that wait may
share a transaction (a commit costs more than most handlers); if anything goes wrong they are handled one by one.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Table, insert, text
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from common import clock, context, contracts, tracing
from common.db import rerun_lost_race, transaction
from common.db.tables import Inbox
from common.db.transactions import lost_race
from common.errors import AppError
from common.messaging import metrics
from common.messaging.envelope import Event, MalformedEvent, parse
from common.messaging.outcomes import NotYet, Rejected

log = logging.getLogger(__name__)

Handler = Callable[[Session, Event], None]
Handlers = Mapping[str, Handler]
"""Event type → handler; `"#"` is for all types that have none of their own."""


@dataclass(frozen=True, slots=True)
class Done:
    """Handled, now or before: acknowledge it."""


@dataclass(frozen=True, slots=True)
class Again:
    """It failed, and may not fail later."""

    error: str
    reason: str
    event_type: str


@dataclass(frozen=True, slots=True)
class Dead:
    """It can never be handled. `cause` is one of few words, for counting."""

    cause: str
    error: str
    reason: str
    event_type: str = ""


Outcome = Done | Again | Dead

ID_LENGTH = 100
BATCH = 50
"""Messages in one transaction, and"""
BATCH_FOR_S = 0.02
"""how long it may take up others that want the same rows, or on SQLite to write at all."""

assert isinstance(Inbox.__table__, Table)
_INBOX = insert(Inbox.__table__)


class DatabaseAway(Exception):
    """Nothing can be said about any message until the database is back."""


class _Duplicate(Exception):
    """Another delivery of the same event was handled before."""


def handle(queue: str, handlers: Handlers, body: bytes) -> Outcome:
    """Handle one message. Raises DatabaseAway. Safe to repeat."""
    try:
        read = _read(handlers, body)
    except Exception as error:  # noqa: BLE001 (a fault of ours, perhaps in a schema: the queue goes on)
        return _unexpected("", error)
    if isinstance(read, Dead):
        return read
    event, handler = read
    with _about(queue, event):
        return _handle(queue, handler, event)


def handle_batch(queue: str, handlers: Handlers, bodies: Sequence[bytes]) -> int:
    """Handle messages from the front in one transaction. Returns how many: 0 when they must be handled one by one."""
    batch: list[tuple[Event, Handler]] = []
    began = time.perf_counter()
    try:
        for body in bodies:
            read = _read(handlers, body)
            if isinstance(read, Dead):
                break
            batch.append(read)
        if len(batch) < 2:
            return 0
        done = _together(queue, batch)
    except Exception as error:  # noqa: BLE001 (whatever it is, handled alone each message gets what it deserves)
        log.debug("%s: %d messages one by one after %s", queue, len(batch), type(error).__name__)
        return 0
    each = (time.perf_counter() - began) / done
    seconds = metrics.HANDLING_SECONDS.labels(queue)
    for _ in range(done):
        seconds.observe(each)
    for event_type, count in Counter(event.type for event, _ in batch[:done]).items():
        metrics.HANDLED.labels(queue, event_type).inc(count)
    return done


def _together(queue: str, batch: Sequence[tuple[Event, Handler]]) -> int:
    done = 0
    with transaction() as session:
        deadline = time.perf_counter() + BATCH_FOR_S
        for event, handler in batch:
            with _about(queue, event):
                handler(session, event)
                log.debug("%s handled, commits with its batch", event.type, extra={"queue": queue})
            done += 1
            if time.perf_counter() > deadline:
                break
        now = clock.now()
        rows = [{"consumer": queue, "event_id": event.id, "handled_at": now} for event, _ in batch[:done]]
        session.connection().execute(_INBOX, rows)
    return done


@contextmanager
def _about(queue: str, event: Event) -> Iterator[None]:
    """Logs, traces and emitted events of the block belong to the event."""
    request = context.request_id.set(event.correlation_id)
    current = context.event_id.set(event.id)
    try:
        with tracing.span(f"{queue} process", tracing.SpanKind.CONSUMER, event.traceparent):
            yield
    finally:
        context.request_id.reset(request)
        context.event_id.reset(current)


def _read(handlers: Handlers, body: bytes) -> tuple[Event, Handler] | Dead:
    """The event and who handles it; all that can be refused without the database is refused here."""
    try:
        event = parse(body)
        violation = contracts.violation(event.type, event.data)
        if len(event.id) > ID_LENGTH:
            raise MalformedEvent("id is longer than the inbox can hold")
    except MalformedEvent as error:
        return Dead("malformed", "MalformedEvent", str(error))
    except contracts.UnknownEvent:
        return Dead("unknown_type", "UnknownEvent", "no published contract names this type", event.type)
    if violation is not None:
        return Dead("schema", "SchemaViolation", violation, event.type)
    handler = handlers.get(event.type) or handlers.get(contracts.EVERYTHING)
    if handler is None:
        return Dead("no_handler", "NoHandler", "this queue has no handler for this type", event.type)
    return event, handler


def _handle(queue: str, handler: Handler, event: Event) -> Outcome:
    began = time.perf_counter()
    try:
        _once(queue, handler, event)
    except _Duplicate:
        metrics.DUPLICATES.labels(queue).inc()
        return Done()
    except NotYet as error:
        return Again("NotYet", str(error) or "what it refers to is not here yet", event.type)
    except Rejected as error:
        return Dead("rejected", "Rejected", str(error) or "rejected", event.type)
    except AppError as error:
        if error.status < 500:
            return Dead("rejected", type(error).__name__, f"{error.code}: {error.detail}", event.type)
        return Again(type(error).__name__, error.code, event.type)
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        if not database_answers():
            raise DatabaseAway(type(error).__name__) from error
        return _unexpected(event.type, error)
    except Exception as error:  # noqa: BLE001 (whatever a handler does, the queue goes on)
        return _unexpected(event.type, error)
    log.debug("%s handled", event.type, extra={"queue": queue})
    metrics.HANDLED.labels(queue, event.type).inc()
    metrics.HANDLING_SECONDS.labels(queue).observe(time.perf_counter() - began)
    return Done()


@rerun_lost_race
def _once(queue: str, handler: Handler, event: Event) -> None:
    with transaction() as session:
        try:
            row = {"consumer": queue, "event_id": event.id, "handled_at": clock.now()}
            session.connection().execute(_INBOX, row)
        except IntegrityError as error:
            raise _Duplicate if lost_race(error) else error from None
        handler(session, event)


def _unexpected(event_type: str, error: Exception) -> Again:
    """The exception's own text stays in the log: it may hold personal data."""
    log.error("handling %s failed", event_type or "a message", exc_info=error)
    return Again(type(error).__name__, "the handler failed; its log has more", event_type)


def database_answers() -> bool:
    """Whether a transaction can be had at all."""
    try:
        with transaction() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
