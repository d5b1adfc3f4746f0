"""The relay as a process of its own: it publishes and does nothing else; with workers and other relays beside it every
event still goes once and in order, and the jobs run."""

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from common.db import reading, transaction, wake
from common.db.tables import Heartbeat
from common.messaging.worker import Job
from dev.ports import free_ports
from tests.support.eventually import crowding, eventually
from tests.support.messaging.house import ON_SQLITE, Handled, House

pytestmark = pytest.mark.broker


def test_a_relay_publishes_and_handles_nothing(house: House) -> None:
    house.declare()
    with house.relay():
        house.emit(*range(20))
        eventually(lambda: house.unpublished() == 0)
    assert house.waiting() == 20
    assert house.effects() == []


def test_relays_and_workers_publish_every_event_once_and_in_order_and_the_jobs_run(house: House) -> None:
    runs: list[int] = []
    things = list(range(400))
    with house.relay():
        ids = house.emit(*things[:100])
        eventually(lambda: house.unpublished() == 0)  # so it is a relay that leads
        with house.worker(jobs=[Job("count", 3600, lambda: runs.append(1))]), house.relay():
            eventually(lambda: runs)
            before = len(runs)
            ids += house.emit(*things[100:])
            with house.app.app_context(), transaction() as session:
                wake(session, "count")
            eventually(lambda: house.effects() == things, within=30)
            eventually(lambda: len(runs) > before)
            eventually(lambda: house.unpublished() == 0)
    with house.app.app_context(), reading() as session:
        assert list(session.scalars(select(Handled.event_id).order_by(Handled.id))) == ids
    assert house.waiting() == 0
    assert REGISTRY.get_sample_value("events_duplicate_total", {"queue": house.queue}) is None


@ON_SQLITE
def test_a_worker_that_is_told_not_to_relay_leaves_it_to_relays(house: House) -> None:
    settings = house.app.extensions["sricare_settings"]
    house.app.extensions["sricare_settings"] = settings.model_copy(update={"worker_relays": False})
    runs: list[int] = []
    house.emit(1)
    with house.worker(jobs=[Job("count", 3600, lambda: runs.append(1))]) as worker:
        eventually(lambda: runs and worker.broker_connected)
        assert house.unpublished() == 1
        with house.relay():
            eventually(lambda: house.effects() == [1])


@ON_SQLITE
def test_a_relay_says_how_it_is_and_ends_cleanly(house: House) -> None:
    [port] = free_ports(1)
    house.environment[f"{house.name}_WORKER_METRICS_PORT".upper()] = str(port)

    def beats() -> bool | None:
        with house.app.app_context(), reading() as session:
            row = session.get(Heartbeat, f"{house.name}.relay")
            return row and row.broker_connected

    house.declare()
    with house.worker_process(kind="relay") as relay:
        house.emit(1)
        eventually(lambda: house.unpublished() == 0, within=60)
        eventually(beats)
        published = 'events_published_total{type="thing.happened"} 1.0'
        eventually(lambda: published in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        relay.terminate()
        assert relay.wait(10 * crowding()) == 0
