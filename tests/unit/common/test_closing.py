"""What a transaction writes last: one statement on Postgres, several on SQLite, the same outcome."""

from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask
from sqlalchemy import String, cast, select
from sqlalchemy.exc import IntegrityError

from common import clock
from common.db import reading, transaction
from common.db.closing import MANY, at_the_end
from common.db.tables import Inbox, Outbox
from common.db.transactions import key_taken
from common.messaging import new_event

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def handled(*event_ids: str) -> list[dict]:
    return [{"consumer": "test", "event_id": each, "handled_at": clock.now()} for each in event_ids]


def stored() -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Inbox.event_id))) | set(session.scalars(select(Outbox.type)))


def test_rows_of_several_tables_and_events_are_there_once_the_transaction_has_ended(app: Flask) -> None:
    with transaction() as session:
        at_the_end(session, Inbox.__table__, handled("first"))
        session.add(new_event("user.locked_out", subject="u", data={}))
        at_the_end(session, Inbox.__table__, handled("second", "third"))
        assert stored() == set()
    assert stored() == {"first", "second", "third", "user.locked_out"}


def test_so_many_rows_that_they_are_a_statement_of_their_own_are_there_too(app: Flask) -> None:
    many = [f"event {number}" for number in range(MANY)]
    with transaction() as session:
        at_the_end(session, Inbox.__table__, handled(*many))
        session.add(new_event("user.locked_out", subject="u", data={}))
    assert stored() == {*many, "user.locked_out"}


def test_a_block_that_raises_writes_nothing(app: Flask) -> None:
    with pytest.raises(RuntimeError), transaction() as session:
        at_the_end(session, Inbox.__table__, handled("first"))
        raise RuntimeError
    assert stored() == set()


def test_a_key_that_is_taken_undoes_all_and_names_its_table(app: Flask) -> None:
    with transaction() as session:
        at_the_end(session, Inbox.__table__, handled("first"))
    with pytest.raises(IntegrityError) as raised, transaction() as session:
        session.add(new_event("user.locked_out", subject="u", data={}))
        at_the_end(session, Inbox.__table__, handled("second"))
        at_the_end(session, Inbox.__table__, handled("first"))
    assert stored() == {"first"}
    assert key_taken(raised.value, "inbox")
    assert not key_taken(raised.value, "outbox")


def test_values_of_every_row_are_stored_as_their_columns_have_them(app: Flask) -> None:
    """SQLite would take an instant of the second row as it stands, with its offset, and sort it wrongly."""
    rows = [{**row, "handled_at": AT} for row in handled("first", "second", "third")]
    with transaction() as session:
        at_the_end(session, Inbox.__table__, rows)
    with reading() as session:
        assert session.scalars(select(Inbox.handled_at)).all() == [AT] * 3
        stored_as = session.scalars(select(cast(Inbox.handled_at, String)).distinct()).all()
    assert len(stored_as) == 1


def test_an_event_of_a_savepoint_goes_with_it_or_stays_with_it(app: Flask) -> None:
    with transaction() as session:
        with pytest.raises(RuntimeError), session.begin_nested():
            session.add(new_event("user.locked_out", subject="u", data={}))
            raise RuntimeError
        with session.begin_nested():
            session.add(new_event("user.deactivated", subject="u", data={}))
        session.add_all([new_event("user.created", subject="u", data={})])
    assert stored() == {"user.deactivated", "user.created"}
