"""The relay: what cannot be published waits and holds nobody up; another worker takes over; order is kept."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from common import ids
from common.db import reading, transaction
from common.db.tables import Outbox
from common.messaging import new_event, publisher, relay, topology
from tests.support.eventually import eventually
from tests.support.messaging.house import ON_SQLITE, THING, UNHEARD, Handled, House

pytestmark = pytest.mark.broker


def test_an_unroutable_event_stays_and_the_others_go(house: House) -> None:
    with house.worker():
        [stuck] = house.emit(1, type=UNHEARD)
        house.emit(*range(2, 20))
        eventually(lambda: house.effects() == list(range(2, 20)))
        eventually(lambda: house.unpublished() == 1)
        row = eventually(lambda: tried(house, stuck, 2), within=30)
    assert row.published_at is None
    assert row.last_error == "returned: 312 NO_ROUTE"


@ON_SQLITE
def test_an_event_that_was_returned_goes_when_its_queue_is_there(house: House) -> None:
    house.declare()
    with house.worker():
        [stuck] = house.emit(1, type=UNHEARD)
        eventually(lambda: tried(house, stuck, 1))
        with house.broker() as connection:
            connection.channel().queue_bind(house.queue, f"{house.name}.events", UNHEARD)
        eventually(lambda: house.unpublished() == 0, within=30)


def test_a_row_that_nobody_could_publish_says_why_and_holds_nobody_up(house: House) -> None:
    thing = new_event(THING, subject="x", data={"n": 1})
    strange = replace(thing, id=ids.new_id(), type="thing.forgotten")
    huge = replace(thing, body=" " * (relay.MAX_BODY + 1))
    with house.app.app_context(), transaction() as session:
        session.add_all([strange, huge])
    with house.worker():
        house.emit(3)
        eventually(lambda: house.effects() == [3])
        first = eventually(lambda: tried(house, strange.id, 1))
        second = eventually(lambda: tried(house, huge.id, 1))
    assert first.last_error == "no published contract names this type"
    assert second.last_error == "larger than a message may be"


@ON_SQLITE
def test_a_message_over_which_the_broker_closes_the_channel_is_found_among_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = publisher.Publisher.send

    def to_nowhere(self: publisher.Publisher, messages: list[publisher.Message]) -> None:
        """Send thing 5 to an exchange that is not there: for that the broker closes the channel."""
        send(self, [_astray(each) if b'"n":5}' in each.body else each for each in messages])

    monkeypatch.setattr(publisher.Publisher, "send", to_nowhere)
    event_ids = house.emit(*range(10))
    with house.worker():
        eventually(lambda: house.effects() == [0, 1, 2, 3, 4, 6, 7, 8, 9], within=60)
        row = eventually(lambda: tried(house, event_ids[5], 1), within=60)
        house.emit(10)
        eventually(lambda: 10 in house.effects(), within=60)
    assert "no exchange" in (row.last_error or "")


def _astray(message: publisher.Message) -> publisher.Message:
    return publisher.Message("nowhere", message.routing_key, message.body, message.properties)


@ON_SQLITE
def test_a_database_that_fails_between_confirmation_and_mark_costs_time_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, failures = relay.record, iter(range(3))

    def failing(receipt: publisher.Receipt) -> None:
        if receipt.confirmed and next(failures, None) is not None:
            raise OperationalError("UPDATE", None, Exception("database is locked"))
        record(receipt)

    monkeypatch.setattr(relay, "record", failing)
    things = list(range(3 * relay.BATCH))
    house.emit(*things)
    with house.worker() as worker:
        eventually(lambda: house.effects() == things, within=30)
        eventually(lambda: house.unpublished() == 0, within=30)
        assert worker.broker_connected
        house.emit(-1)
        eventually(lambda: house.effects() == [-1, *things], within=30)


def test_events_are_published_in_the_order_of_their_ids(house: House) -> None:
    things = list(range(700))
    ids = house.emit(*things)
    with house.worker():
        eventually(lambda: house.effects() == things, within=30)
    with house.app.app_context(), reading() as session:
        assert list(session.scalars(select(Handled.event_id).order_by(Handled.id))) == ids


@pytest.mark.parametrize(
    ("database_url", "kind"),
    [("sqlite", "relay"), ("postgres", "relay"), ("postgres", "worker")],
    indirect=["database_url"],
)
def test_a_worker_takes_over_when_who_relays_dies(house: House, kind: str) -> None:
    house.declare()
    with house.worker_process(kind=kind) as leader:
        house.emit(1)
        eventually(lambda: house.unpublished() == 0, within=60)
        with house.worker():
            eventually(lambda: house.effects() == [1])
            leader.kill()
            leader.wait()
            house.emit(2)
            eventually(lambda: house.effects() == [1, 2], within=30)
            eventually(lambda: house.unpublished() == 0)


def test_an_event_of_a_commit_reaches_its_handler_without_waiting_for_a_poll(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL_S", 3600.0)
    with house.worker():
        for n in range(10):
            house.emit(n)
            eventually(lambda last=n: last in house.effects())


@ON_SQLITE
def test_a_queue_that_somebody_deleted_comes_back(house: House) -> None:
    with house.worker() as worker:
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        with house.broker() as connection:
            connection.channel().queue_delete(house.queue)
            connection.channel().queue_delete(topology.dead_queue(house.queue))
        eventually(lambda: worker.broker_connected, within=30)
        house.emit(2)
        eventually(lambda: house.effects() == [1, 2], within=30)


def tried(house: House, event_id: str, times: int) -> Outbox | None:
    """The row, once it was tried so often."""
    row = house.outbox()[event_id]
    return row if row.attempts >= times else None
