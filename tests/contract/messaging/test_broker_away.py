"""The broker goes away, in order, by power cut or by hanging: events wait, arrive once, and nobody hangs."""

import signal
import time
from collections.abc import Iterator

import pytest

from common.db import reading
from common.db.tables import Heartbeat
from tests.support.eventually import crowding, eventually
from tests.support.messaging.house import ON_SQLITE, House
from tests.support.rabbitmq import PrivateRabbit

pytestmark = [pytest.mark.broker, ON_SQLITE]


@pytest.fixture(scope="module")
def fragile() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as node:
        yield node


@pytest.fixture
def rabbitmq_url(fragile: PrivateRabbit) -> str:
    fragile.start()
    return fragile.url


def test_events_of_an_outage_arrive_once_after_it(house: House, fragile: PrivateRabbit) -> None:
    with house.worker() as worker:
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        time.sleep(3)  # a quorum queue killed younger than this may be lost (see stack notes)
        fragile.kill()
        eventually(lambda: not worker.broker_connected)
        house.emit(2, 3)
        assert house.unpublished() == 2
        fragile.start()
        eventually(lambda: house.effects() == [1, 2, 3], within=60)
        eventually(lambda: worker.broker_connected)
        eventually(lambda: house.unpublished() == 0)


def test_a_broker_stopped_under_load_loses_and_repeats_nothing(house: House, fragile: PrivateRabbit) -> None:
    things = list(range(600))
    with house.worker():
        house.emit(*things[:200])
        eventually(lambda: len(house.effects()) > 0)
        time.sleep(3)
        house.emit(*things[200:400])
        fragile.stop()
        house.emit(*things[400:])
        fragile.start()
        eventually(lambda: house.effects() == things, within=30)


def test_a_worker_without_broker_stops_in_time(house: House, fragile: PrivateRabbit) -> None:
    fragile.kill()
    with house.worker_process() as worker:
        house.emit(1)
        eventually(lambda: _heartbeat(house) is False, within=60)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10 * crowding()) == 0


def test_a_worker_whose_broker_hangs_stops_in_time(house: House, fragile: PrivateRabbit) -> None:
    with house.worker_process() as worker:
        house.emit(1)
        eventually(lambda: house.effects() == [1], within=60)
        fragile.freeze()
        try:
            house.emit(2)
            time.sleep(1)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(10 * crowding()) == 0
        finally:
            fragile.thaw()


def _heartbeat(house: House) -> bool | None:
    with house.app.app_context(), reading() as session:
        row = session.get(Heartbeat, f"{house.name}.worker")
        return row and row.broker_connected
