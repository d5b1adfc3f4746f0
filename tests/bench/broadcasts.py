"""A broadcast to 100,000 customers, and what those notice of it whom events have something to tell.

The same events at the same rate are told before it begins: the ratios are between the two. One worker sends and
broadcasts, events are handled in this process, the SMS gateway is a sink; all share the machine's cores and one SQLite
file.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import insert, select

from common import clock, ids
from common.db import db, reading, transaction, upgrade
from common.messaging import new_event
from common.messaging.handling import Done, handle
from notification.handlers import HANDLERS
from notification.models import (
    UNENDED_STATES,
    Broadcast,
    Category,
    Channel,
    Delivery,
    DeliveryAttempt,
    Language,
    Recipient,
)
from notification.use_cases.broadcasts import schedule_broadcast
from tests.bench.figures import Figure, percentile
from tests.bench.notification import sending_worker, sinks
from tests.support.eventually import eventually
from tests.support.notifications import a_customer, sample
from tests.support.services import make_app

CUSTOMERS = 100_000
BY_SMS = 5_000
EVENTS = 500
EVENTS_BEFORE = 300
EVENTS_PER_S = 20


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, sinks(Path(folder)) as (_, web):
        path = Path(folder)
        app = make_app(
            "notification", f"sqlite:///{path / 'broadcast.sqlite3'}", path, sms_per_hour=1_000_000
        )
        environment = {
            "NOTIFICATION_SMS_PROVIDERS": "http",
            "NOTIFICATION_SMS_HTTP_URL": f"http://127.0.0.1:{web}/",
        }
        with app.app_context():
            upgrade()
            found = _measure(app, environment)
            db.engine.dispose()
    return found


def _measure(app: Flask, environment: dict[str, str]) -> list[Figure]:
    everybody = _customers()
    users = [a_customer() for _ in range(20)]
    with sending_worker(app, environment):
        _tell_and_wait(users, 20)  # the worker is up
        handled_before, waited_before = _tell_and_wait(users, EVENTS_BEFORE)
        _broadcast(["in_app"], None)
        _broadcast(["sms"], everybody[:BY_SMS])
        began = time.perf_counter()
        handled, waited = _tell_and_wait(users, EVENTS)
        assert not _all_over(), "the events were told while it ran"
        eventually(_all_over, within=900, every=0.5)
        taken = time.perf_counter() - began
    return [
        Figure("customers of a broadcast gone through", CUSTOMERS / taken, "/s"),
        *_compared("event to stored in-app notification", handled_before, handled, 60),
        *_compared("an event's SMS with the provider after", waited_before, waited, None),
    ]


def _tell_and_wait(users: list[str], events: int) -> tuple[list[float], list[float]]:
    """After how many ms each event was stored, and after how many its SMS was with the provider."""
    began = clock.now()
    handled = _tell(users, events)
    eventually(lambda: len(_waited(users, began)) == events, within=60, every=0.2)
    return handled, _waited(users, began)


def _compared(what: str, before: list[float], meanwhile: list[float], aim: float | None) -> Iterator[Figure]:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        was, now = percentile(before, share), percentile(meanwhile, share)
        bound = ("<=", aim) if aim is not None and name == "p99" else None
        yield Figure(f"{what}, no broadcast, {name}", was, "ms")
        yield Figure(f"{what}, meanwhile, {name}", now, "ms", bound)
        yield Figure(f"{what}, meanwhile / no broadcast, {name}", now / was, "x")


def _customers() -> list[str]:
    row = {"phone": "+94771234567", "email": None, "name": "Nimali", "language": Language.ENGLISH}
    everybody = sorted(ids.new_id() for _ in range(CUSTOMERS))
    with transaction() as session:
        rows = [{**row, "user_id": each, "as_of": clock.now()} for each in everybody]
        session.execute(insert(Recipient), rows)
    return everybody


def _broadcast(channels: list[str], user_ids: list[str] | None) -> None:
    words = {"title": "News", "body": "There is something new.", "sms": "Sri-Care: something new."}
    with transaction() as session:
        schedule_broadcast(
            session,
            broadcast_id=ids.new_id(),
            author_id=ids.new_id(),
            category=Category.ACCOUNT,
            channels=channels,
            languages=[],
            user_ids=user_ids,
            barred=None,
            holding=[],
            texts={language.value: words for language in Language},
            starts_at=None,
            per_minute=100_000,
        )


def _tell(users: list[str], events: int) -> list[float]:
    """Events at a rate; after how many ms each was committed."""
    times = []
    began = time.perf_counter()
    for n in range(events):
        user_id = users[n % len(users)]
        data = sample("service.activated", user_id)
        body = new_event("service.activated", subject=user_id, data=data).body.encode()
        due = began + n / EVENTS_PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
        assert isinstance(handle("notification.inbox", HANDLERS, body), Done)
        times.append((time.perf_counter() - due) * 1000)
    return times


def _waited(users: list[str], since: datetime) -> list[float]:
    """How many ms each event's SMS took from its commit to the provider's answer."""
    sent = (
        select(Delivery.created_at, DeliveryAttempt.finished_at)
        .join(DeliveryAttempt, DeliveryAttempt.delivery_id == Delivery.id)
        .where(Delivery.user_id.in_(users), Delivery.channel == Channel.SMS)
        .where(Delivery.event_type == "service.activated", DeliveryAttempt.finished_at.is_not(None))
        .where(Delivery.created_at >= since)
    )
    with reading() as session:
        return [
            (row.finished_at - row.created_at) / timedelta(milliseconds=1) for row in session.execute(sent)
        ]


def _all_over() -> bool:
    with reading() as session:
        return session.scalar(select(Broadcast.id).where(Broadcast.state.in_(UNENDED_STATES))) is None


if __name__ == "__main__":
    for figure in run():
        print(figure)
