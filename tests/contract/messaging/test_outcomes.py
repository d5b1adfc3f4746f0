"""Whatever arrives, however often and in whatever order: the outcome is the same, and the rest flows on."""

import time
from collections.abc import Callable
from typing import Any

import orjson
import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from common.errors import Conflict, ServiceUnavailable
from common.messaging import Event, consumer, letters, metrics
from tests.support.eventually import eventually
from tests.support.messaging.house import ON_POSTGRES, ON_SQLITE, SHORT_RETRIES, THING, UNHEARD, House
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.broker


def document(house: House, **changes: Any) -> bytes:
    event = {
        "specversion": "1.0",
        "id": "0193b5c1-0000-7000-8000-000000000001",
        "source": f"/{house.name}",
        "type": THING,
        "subject": "somebody",
        "time": "2026-11-21T10:00:00Z",
        "data": {"n": 1},
    }
    return orjson.dumps(event | changes)


def test_a_message_delivered_many_times_takes_effect_once(house: House) -> None:
    house.declare()
    with house.worker():
        house.send(document(house), times=30)
        house.emit(2)
        eventually(lambda: house.effects() == [1, 2])
        eventually(lambda: house.waiting() == 0)
    assert house.effects() == [1, 2]
    assert house.dead() == []


def test_what_comes_too_early_is_handled_when_its_turn_has_come(house: House) -> None:
    with house.worker():
        house.emit(3, needs=2)
        house.emit(2, needs=1)
        house.emit(4)
        eventually(lambda: house.effects() == [4])
        house.emit(1)
        eventually(lambda: house.effects() == [1, 2, 3, 4], within=30)
    assert house.dead() == []


def test_what_never_becomes_possible_is_dead_in_the_end(house: House) -> None:
    house.declare()
    with house.worker():
        house.emit(1, needs=99)
        headers, _ = eventually(house.dead, within=30)[0]
    assert headers[letters.RETRIES] == len(SHORT_RETRIES)
    assert headers[letters.ERROR] == "NotYet"
    assert headers[letters.REASON] == "thing 99"
    assert headers[letters.FIRST_FAILED_AT] < headers[letters.DEAD_AT]


POISON: dict[str, tuple[Callable[[House], bytes], str, str]] = {
    "not JSON": (lambda _: b"\xff{", "MalformedEvent", ""),
    "not an object": (lambda _: b"[]", "MalformedEvent", ""),
    "no id": (lambda house: document(house, id=""), "MalformedEvent", ""),
    "a NUL in the id": (lambda house: document(house, id="a\x00b"), "MalformedEvent", ""),
    "an id too long for the inbox": (lambda house: document(house, id="x" * 101), "MalformedEvent", ""),
    "time without zone": (lambda house: document(house, time="2026-11-21T10:00:00"), "MalformedEvent", ""),
    "wrong schema": (lambda house: document(house, data={"n": "one"}), "SchemaViolation", THING),
    "unknown type": (lambda house: document(house, type="thing.unknown"), "UnknownEvent", "thing.unknown"),
    "a type without handler": (lambda house: document(house, type=UNHEARD), "NoHandler", UNHEARD),
    "refused": (lambda house: document(house, data={"n": 1, "mood": "refused"}), "Rejected", THING),
}


def test_poison_is_dead_at_once_with_its_reason_and_the_rest_flows(house: House) -> None:
    house.declare()
    with house.worker():
        for make, _, _ in POISON.values():
            house.send(make(house))
        house.emit(7)
        eventually(lambda: house.effects() == [7])
        eventually(lambda: len(house.dead()) == len(POISON))
    dead = {body: headers for headers, body in house.dead()}
    for case, (make, error, event_type) in POISON.items():
        headers = dead[make(house)]
        assert headers[letters.ERROR] == error, case
        assert headers[letters.EVENT_TYPE] == event_type, case
        assert headers[letters.REASON], case
        assert headers[letters.QUEUE] == house.queue, case
        assert headers[letters.RETRIES] == 0, case
    assert house.effects() == [7]


def test_a_handler_that_always_fails_holds_nobody_up_and_tells_no_secrets(house: House) -> None:
    house.broken.touch()
    with house.worker():
        house.emit(1, mood="broken")
        house.emit(*range(2, 30))
        eventually(lambda: house.effects() == list(range(2, 30)))
        [(headers, _)] = eventually(house.dead, within=30)
    assert headers[letters.ERROR] == "RuntimeError"
    assert "Nimal" not in str(headers)
    assert headers[letters.RETRIES] == len(SHORT_RETRIES)


def test_a_refusal_of_a_use_case_is_final_and_an_outage_is_not(house: House) -> None:
    outages = iter([True, True])

    def handler(session: Session, event: Event) -> None:
        if event.data["n"] == 1:
            raise Conflict("this order is closed")
        if next(outages, False):
            raise ServiceUnavailable("no gateway")
        house.on_thing(session, event)

    with house.worker(handlers={"#": handler}):
        house.emit(1, 2)
        eventually(lambda: house.effects() == [2], within=30)
        [(headers, _)] = eventually(house.dead)
    assert headers[letters.REASON] == "conflict: this order is closed"
    assert headers[letters.RETRIES] == 0


@ON_POSTGRES
def test_a_database_that_is_away_costs_no_retries(house: House, postgres: PostgresServer) -> None:
    with house.worker():
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        admit(postgres, house, False)
        house.send(document(house, data={"n": 2}))
        time.sleep(2)
        admit(postgres, house, True)
        eventually(lambda: house.effects() == [1, 2], within=30)
        house.emit(3)
        eventually(lambda: house.effects() == [1, 2, 3], within=30)
    assert retried(house) == 0


@ON_SQLITE
def test_a_channel_that_the_broker_closes_is_opened_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker closes the channel over an acknowledgement of what it never delivered."""
    acknowledge, slips = consumer._Hand.acknowledge, iter([True])

    def slip(self: consumer._Hand, count: int) -> None:
        if next(slips, False):
            self._channel.basic_ack(999_999)
        acknowledge(self, count)

    monkeypatch.setattr(consumer._Hand, "acknowledge", slip)
    with house.worker() as worker:
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        time.sleep(3 * consumer.POLL_S)
        house.emit(2)
        eventually(lambda: house.effects() == [1, 2])
        eventually(lambda: worker.broker_connected)
        eventually(lambda: house.waiting() == 0)


def admit(server: PostgresServer, house: House, allowed: bool) -> None:
    """Let nobody connect to the house's database, and throw everybody out; or let them in again."""
    name = make_url(house.app.config["SQLALCHEMY_DATABASE_URI"]).database
    with psycopg.connect(
        host="127.0.0.1", port=server.port, user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS {allowed}')
        if not allowed:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )


def retried(house: House) -> float:
    """How often this house's consumer has put a message off."""
    samples = (sample for metric in metrics.RETRIED.collect() for sample in metric.samples)
    return sum(s.value for s in samples if s.labels["queue"] == house.queue and s.name.endswith("_total"))
