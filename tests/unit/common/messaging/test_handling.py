"""What becomes of messages in the database, one by one and several in a transaction."""

from collections.abc import Iterator

import orjson
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from common import context, tracing
from common.db import reading
from common.db.tables import Inbox, Outbox
from common.messaging import Event, NotYet, new_event
from common.messaging.handling import Again, DatabaseAway, Dead, Done, Handlers, handle, handle_batch
from tests.support.messaging.house import ON_SQLITE, THING, House


@pytest.fixture(autouse=True)
def _context(house: House) -> Iterator[None]:
    with house.app.app_context():
        yield


def body(n: int, **data: object) -> bytes:
    return new_event(THING, subject="somebody", data={"n": n, **data}).body.encode()


def inbox() -> int:
    with reading() as session:
        return len(session.scalars(select(Inbox)).all())


def test_the_second_delivery_is_done_and_does_nothing(house: House) -> None:
    message = body(1)
    assert handle(house.queue, house.handlers, message) == Done()
    assert handle(house.queue, house.handlers, message) == Done()
    assert house.effects() == [1]


def test_two_queues_of_a_service_handle_the_same_event_each(house: House) -> None:
    message = body(1)
    assert handle("one", house.handlers, message) == Done()
    assert handle("other", house.handlers, message) == Done()
    assert house.effects() == [1, 1]


def test_what_fails_leaves_no_trace_and_may_succeed_later(house: House) -> None:
    message = body(1, needs=0)
    outcome = handle(house.queue, house.handlers, message)
    assert outcome == Again("NotYet", "thing 0", THING)
    assert inbox() == 0
    handle(house.queue, house.handlers, body(0))
    assert handle(house.queue, house.handlers, message) == Done()


def test_several_messages_share_a_transaction(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.messaging.handling.BATCH_FOR_S", 60.0)
    assert handle_batch(house.queue, house.handlers, [body(n) for n in range(10)]) == 10
    assert house.effects() == list(range(10))
    assert inbox() == 10


@pytest.mark.parametrize("bad", [b"{", b"", b'{"specversion":"1.0"}'], ids=["not JSON", "empty", "not whole"])
def test_a_batch_ends_before_a_message_that_is_malformed(house: House, bad: bytes) -> None:
    assert handle_batch(house.queue, house.handlers, [body(1), body(2), bad, body(3)]) == 2
    assert handle_batch(house.queue, house.handlers, [bad, body(3)]) == 0
    assert house.effects() == [1, 2]


def test_a_batch_with_a_duplicate_or_a_failure_takes_no_effect_at_all(house: House) -> None:
    twice = body(1)
    handle(house.queue, house.handlers, twice)
    assert handle_batch(house.queue, house.handlers, [body(2), twice, body(3)]) == 0
    assert handle_batch(house.queue, house.handlers, [body(2), body(3, needs=99)]) == 0
    assert handle_batch(house.queue, house.handlers, [twice, twice]) == 0
    assert house.effects() == [1]


def test_a_batch_ends_when_it_has_taken_long_enough(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.messaging.handling.BATCH_FOR_S", 0.0)
    assert handle_batch(house.queue, house.handlers, [body(1), body(2)]) == 1
    assert house.effects() == [1]
    assert inbox() == 1


@pytest.mark.parametrize("batched", [False, True])
@ON_SQLITE
def test_what_a_handler_causes_belongs_to_the_event(house: House, batched: bool) -> None:
    seen = []

    def handler(session: Session, event: Event) -> None:
        seen.append((context.request_id.get(), context.event_id.get(), tracing.current_trace_id()))
        session.add(new_event(THING, subject="somebody", data={"n": 9}))

    context.request_id.set("outside")
    messages = []
    for n in range(2):
        document = orjson.loads(body(n))
        document |= {"correlationid": f"request-{n}", "traceparent": f"00-{n + 1:032x}-{1:016x}-01"}
        messages.append(orjson.dumps(document))
    if batched:
        assert handle_batch(house.queue, {"#": handler}, messages) == 2
    else:
        assert [handle(house.queue, {"#": handler}, each) for each in messages] == [Done(), Done()]
    ids = [orjson.loads(each)["id"] for each in messages]
    assert seen == [(f"request-{n}", ids[n], f"{n + 1:032x}") for n in range(2)]
    assert context.request_id.get() == "outside"
    with reading() as session:
        caused = [orjson.loads(row.body) for row in session.scalars(select(Outbox).order_by(Outbox.id))]
    assert [each["correlationid"] for each in caused] == ["request-0", "request-1"]
    assert [each["traceparent"][3:35] for each in caused] == [f"{n + 1:032x}" for n in range(2)]


@ON_SQLITE
def test_a_type_of_its_own_comes_before_the_handler_for_all(house: House) -> None:
    def others(_session: Session, _event: Event) -> None:
        raise NotYet

    handlers: Handlers = {"#": others, THING: house.on_thing}
    assert handle(house.queue, handlers, body(1)) == Done()
    assert isinstance(handle(house.queue, {"#": others}, body(2)), Again)
    assert isinstance(handle(house.queue, {}, body(3)), Dead)


def test_an_error_of_the_database_that_is_there_is_the_messages_own(house: House) -> None:
    def stumbling(_session: Session, _event: Event) -> None:
        raise OperationalError("SELECT 1", None, Exception("canceling statement due to statement timeout"))

    outcome = handle(house.queue, {"#": stumbling}, body(1))
    assert isinstance(outcome, Again)
    assert outcome.error == "OperationalError"
    assert "SELECT" not in outcome.reason


@ON_SQLITE
def test_an_error_of_a_database_that_is_away_is_nobodys(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("BEGIN", None, Exception("database is locked"))

    monkeypatch.setattr("common.messaging.handling.transaction", away)
    with pytest.raises(DatabaseAway):
        handle(house.queue, house.handlers, body(1))
    assert handle_batch(house.queue, house.handlers, [body(1), body(2)]) == 0
