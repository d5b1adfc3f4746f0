"""Processes die in the middle: nothing is lost, nothing takes effect twice."""

import signal

import pytest

from tests.support.eventually import crowding, eventually
from tests.support.messaging.house import ON_SQLITE, House

pytestmark = pytest.mark.broker


def test_a_worker_killed_between_commit_and_acknowledgement_handles_once(house: House) -> None:
    things = list(range(20))
    with house.worker_process(fault="committed") as doomed:
        house.emit(*things)
        assert doomed.wait(60) == -signal.SIGKILL
    done = house.effects()
    assert done, "it died after a commit"
    with house.worker_process():
        eventually(lambda: house.effects() == things, within=60)
        eventually(lambda: house.waiting() == 0)
    assert house.effects() == things


def test_a_relay_killed_between_confirmation_and_mark_leads_to_one_effect(house: House) -> None:
    things = list(range(20))
    house.emit(*things)
    with house.worker_process(fault="confirmed") as doomed:
        assert doomed.wait(60) == -signal.SIGKILL
    assert house.unpublished() == len(things)
    with house.worker_process():
        eventually(lambda: house.effects() == things, within=60)
        eventually(lambda: house.unpublished() == 0)
        eventually(lambda: house.waiting() == 0)
    assert house.effects() == things


def test_a_worker_killed_again_and_again_loses_and_repeats_nothing(house: House) -> None:
    things = list(range(300))
    for start in range(0, 300, 100):
        with house.worker_process() as worker:
            house.emit(*things[start : start + 50])
            eventually(lambda seen=start: len(house.effects()) > seen, within=60)
            house.emit(*things[start + 50 : start + 100])
            worker.kill()
    with house.worker_process():
        eventually(lambda: house.effects() == things, within=60)


@pytest.mark.parametrize(
    ("database_url", "number"),
    [("sqlite", signal.SIGTERM), ("sqlite", signal.SIGINT), ("postgres", signal.SIGTERM)],
    indirect=["database_url"],
)
def test_a_worker_told_to_stop_finishes_and_exits_0(house: House, number: signal.Signals) -> None:
    with house.worker_process() as worker:
        house.emit(1)
        eventually(lambda: house.effects() == [1], within=60)
        house.emit(*range(2, 200))
        worker.send_signal(number)
        assert worker.wait(10 * crowding()) == 0
    with house.worker_process():
        eventually(lambda: house.effects() == list(range(1, 200)), within=60)


@ON_SQLITE
def test_a_message_that_kills_its_worker_is_put_off_and_the_others_are_handled(house: House) -> None:
    house.broken.touch()
    things = list(range(1, 11))
    house.emit(*things[:4])
    house.emit(0, mood="deadly")
    house.emit(*things[4:])
    for _ in range(6):
        with house.worker_process() as worker:
            eventually(lambda: worker.poll() is not None or house.effects() == things, within=60)
        if house.effects() == things:
            break
    assert house.effects() == things
    house.broken.unlink()
    with house.worker_process():
        eventually(lambda: house.effects() == [0, *things], within=60)
