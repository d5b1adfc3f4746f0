"""Headers of failed messages, the pace of reconnecting, what is declared, what a relay does not even try."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from pika.spec import BasicProperties
from sqlalchemy import text

from common import clock, contracts
from common.db import db
from common.db.tables import Outbox
from common.messaging import definitions, letters, relay, topology
from common.messaging.broker import BrokerTrouble, Outage, parameters
from common.messaging.consumer import SUSPECT_AFTER, Delivery, came_back
from common.messaging.dead_letters import DeadLetter
from common.messaging.letters import Story
from tests.support.messaging.house import ON_SQLITE, THING, House

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
STORY = Story("house.things", THING, "NotYet", "thing 1")


def test_the_story_of_a_message_is_told_from_its_first_failure_on() -> None:
    properties = BasicProperties(message_id="m", content_type="c", type=THING, app_id="house", timestamp=7)
    with clock.frozen(AT):
        for _ in range(4):
            properties = letters.put_off(properties, STORY)
            clock.move(timedelta(minutes=1))
        dead = letters.buried(properties, STORY._replace(error="Again", reason="x" * 1000))
    assert dead.headers == {
        letters.QUEUE: "house.things",
        letters.EVENT_TYPE: THING,
        letters.ERROR: "Again",
        letters.REASON: "x" * 300,
        letters.RETRIES: 4,
        letters.FIRST_FAILED_AT: clock.rfc3339(AT),
        letters.DEAD_AT: clock.rfc3339(AT + timedelta(minutes=4)),
    }
    assert (dead.message_id, dead.content_type, dead.app_id, dead.timestamp) == ("m", "c", "house", 7)
    assert dead.delivery_mode == 2


def test_a_replayed_message_has_all_its_retries_again_and_counts_its_replays() -> None:
    dead = letters.buried(letters.put_off(BasicProperties(), STORY), STORY)
    again = letters.replayed(dead)
    assert letters.retries(again) == 0
    twice = letters.replayed(letters.buried(again, STORY))
    assert twice.headers == {letters.REPLAYS: 2}


@pytest.mark.parametrize("found", [None, "3", -1, [1]])
def test_headers_that_a_stranger_made_up_count_for_nothing(found: object) -> None:
    properties = BasicProperties(headers={letters.RETRIES: found, letters.REPLAYS: found})
    assert letters.retries(properties) == 0
    assert came_back(Delivery(1, BasicProperties(headers={"x-delivery-count": "9"}), b"")) == 0
    assert (
        came_back(Delivery(1, BasicProperties(headers={"x-delivery-count": SUSPECT_AFTER}), b""))
        == SUSPECT_AFTER
    )


def test_a_dead_letter_that_is_no_document_is_known_by_its_message_id() -> None:
    letter = DeadLetter("q", 1, BasicProperties(message_id="m"), b"\xff{")
    assert letter.event_id == "m"
    assert letter.document() == "\ufffd{"
    assert DeadLetter("q", 1, BasicProperties(), b"[1]").event_id == ""


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_success(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage("relay")
    pauses = [outage.failed(BrokerTrouble("no")) for _ in range(12)]
    assert 0.14 <= pauses[0] <= 0.26
    assert all(3.5 <= pause <= 6.5 for pause in pauses[6:])
    outage.over()
    assert outage.failed(BrokerTrouble("no")) <= 0.26
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_connections_are_named_and_notice_a_broker_that_hangs() -> None:
    found = parameters("amqp://guest:guest@127.0.0.1/", "house.relay")
    assert found.client_properties == {"connection_name": "house.relay"}
    assert found.heartbeat == 10


@ON_SQLITE
def test_each_queue_has_its_retry_and_dead_queues(house: House) -> None:
    queues = {queue.name: queue.arguments for queue in topology.queues()}
    waiting = [f"{house.queue}.retry.{name}" for name in ("1s", "10s", "60s", "10m")]
    assert list(queues) == [house.queue, *waiting, f"{house.queue}.dead"]
    assert all(arguments["x-queue-type"] == "quorum" for arguments in queues.values())
    for name in waiting:
        assert queues[name]["x-dead-letter-routing-key"] == house.queue
        assert queues[name]["x-dead-letter-strategy"] == "at-least-once"
        assert queues[name]["x-overflow"] == "reject-publish"
    assert [topology.retry_queue(house.queue, n) for n in range(5)] == [*waiting, None]


def test_the_platforms_definitions_bind_every_event_to_its_queues() -> None:
    given = definitions.definitions()
    bound = {(b["source"], b["routing_key"], b["destination"]) for b in given["bindings"]}
    for queue in contracts.queues():
        for exchange, routing_key in contracts.bindings(queue):
            assert (exchange, routing_key, queue) in bound
    assert {exchange["name"] for exchange in given["exchanges"]} == {
        contracts.exchange_of(producer) for producer in contracts.producers()
    }
    assert len(given["queues"]) == 6 * len(contracts.queues())


def test_real_delays_are_those_of_the_contract() -> None:
    assert topology.RETRY_DELAYS == (("1s", 1_000), ("10s", 10_000), ("60s", 60_000), ("10m", 600_000))


@ON_SQLITE
def test_a_record_of_a_batch_marks_what_was_confirmed_and_counts_what_failed(house: House) -> None:
    ids = house.emit(1, 2, 3)
    with house.app.app_context():
        relay.record(relay.Receipt(confirmed=ids[:1], failed={ids[1]: "y" * 500}))
        relay.record(relay.Receipt())
    rows = house.outbox()
    assert rows[ids[0]].published_at is not None
    assert rows[ids[1]].attempts == 1
    assert rows[ids[1]].last_error == "y" * 300
    assert (rows[ids[2]].published_at, rows[ids[2]].attempts) == (None, 0)


@ON_SQLITE
def test_a_long_backlog_is_read_along_an_index_and_not_sorted_for_each_batch(house: House) -> None:
    house.emit(1)
    with house.app.app_context(), db.engine.connect() as connection:
        for statement in (relay._FRESH, relay._FRESH.where(Outbox.id > "0")):
            sql = statement.compile(db.engine, compile_kwargs={"literal_binds": True})
            plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
            assert len(plan) == 1, plan
            assert "ix_outbox_pending" in plan[0]
