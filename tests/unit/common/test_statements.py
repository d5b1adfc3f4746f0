"""Statements straight to the driver mean what they would mean through SQLAlchemy, on both databases."""

from datetime import datetime, timedelta, timezone
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import Table, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from auth.models import AuditEntry, AuditHead, User
from common import clock, ids
from common.db import Statement, UtcDateTime, db, reading, snapshot, transaction, writing
from common.db.tables import Heartbeat, Inbox, Outbox
from common.db.transactions import key_taken
from tests.support.messaging.house import ON_POSTGRES

BEAT = Statement(insert(Heartbeat), "name", "beaten_at", "broker_connected")
BEATS = Statement(select(Heartbeat.name, Heartbeat.beaten_at, Heartbeat.broker_connected).order_by("name"))
COLOMBO = timezone(timedelta(hours=5, minutes=30))


def beat(name: str, at: datetime | None = None) -> dict[str, object]:
    return {"name": name, "beaten_at": at or clock.now(), "broker_connected": True}


def test_values_come_back_as_the_models_have_them(app: Flask) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=COLOMBO)
    with writing() as connection:
        BEAT.run(connection, beat("w", at))
    with snapshot() as connection:
        row = BEATS.first(connection, {})
    with reading() as session:
        model = session.get(Heartbeat, "w")
    assert model is not None
    assert (row.name, row.beaten_at, row.broker_connected) == ("w", at, True)
    assert (model.beaten_at, model.broker_connected) == (at, True)
    assert row.beaten_at.utcoffset() == timedelta(0)


def test_documents_null_and_numbers_too(app: Flask) -> None:
    entries = cast(Table, AuditEntry.__table__)
    given = {
        "id": ids.new_id(),
        "event_id": "e",
        "action": "a",
        "source": "/auth",
        "user_id": "",
        "actor_id": None,
        "happened_at": clock.now(),
        "recorded_at": clock.now(),
        "correlation_id": "",
        "data": {"ක": [1, None, "100 %"]},
    }
    with writing() as connection:
        Statement(insert(entries), *given).run(connection, given)
        row = Statement(select(entries.c.data, entries.c.actor_id, entries.c.seq)).first(connection, {})
        head = Statement(select(AuditHead.__table__).where(AuditHead.id == 1)).first(connection, {})
    assert (row.data, row.actor_id, row.seq) == ({"ක": [1, None, "100 %"]}, None, None)
    assert head.seq == 0


def test_many_rows_one_none_and_what_was_touched(app: Flask) -> None:
    stop = Statement(
        update(Heartbeat).where(Heartbeat.name == bindparam("who")).values(broker_connected=False)
    )
    with writing() as connection:
        BEAT.run_many(connection, [beat("a"), beat("b")])
        BEAT.run_many(connection, [beat("c")])
        assert stop.run(connection, {"who": "b"}) == 1
        assert stop.run(connection, {"who": "z"}) == 0
        assert [(row.name, row.broker_connected) for row in BEATS.all(connection, {})] == [
            ("a", True),
            ("b", False),
            ("c", True),
        ]
        assert Statement(delete(Heartbeat)).run(connection, {}) == 3
        assert BEATS.first(connection, {}) is None


def test_an_update_gives_back_what_it_wrote(app: Flask) -> None:
    beaten = bindparam("beaten", type_=UtcDateTime)
    renew = Statement(
        update(Heartbeat).where(Heartbeat.name == "w").values(beaten_at=beaten).returning(Heartbeat.beaten_at)
    )
    at = clock.now()
    with writing() as connection:
        assert renew.first(connection, {"beaten": at}) is None
        BEAT.run(connection, beat("w", at - timedelta(days=1)))
        assert renew.first(connection, {"beaten": at}) == (at,)


def test_a_naive_instant_is_refused(app: Flask) -> None:
    with pytest.raises(ValueError, match="naive"), writing() as connection:
        BEAT.run(connection, beat("w", datetime(2026, 1, 1)))  # noqa: DTZ001


def test_a_key_that_is_taken_is_the_error_that_a_lost_race_is_told_by(app: Flask) -> None:
    with writing() as connection:
        BEAT.run(connection, beat("w"))
    with pytest.raises(IntegrityError) as caught, writing() as connection:
        BEAT.run(connection, beat("w"))
    assert key_taken(caught.value, "heartbeats")
    assert not key_taken(caught.value, "inbox")


@ON_POSTGRES
def test_an_error_shows_no_values(app: Flask) -> None:
    with pytest.raises(DataError) as caught, writing() as connection:
        BEAT.run(connection, beat("secret" * 100))
    assert "secret" not in str(caught.value)


def test_what_only_sqlalchemys_execution_would_do_is_refused(app: Flask) -> None:
    """A default in Python, an update's too, and a list of unknown length would be left out without a word."""
    users = cast(Table, User.__table__)
    for core, given in (
        (insert(Outbox), ("id", "type", "body")),
        (update(users), ("name",)),
        (select(Inbox).where(Inbox.consumer.in_(["a", "b"])), ()),
    ):
        with pytest.raises(AssertionError), writing() as connection:
            Statement(core, *given).run(connection, {})


def test_bare_statements_run_in_a_session_too(app: Flask) -> None:
    with pytest.raises(RuntimeError), transaction() as session:
        BEAT.run(session.connection(), beat("w"))
        assert session.get(Heartbeat, "w") is not None
        raise RuntimeError
    with reading() as session:
        assert session.get(Heartbeat, "w") is None


@ON_POSTGRES
def test_a_connection_that_was_lost_is_not_used_again(app: Flask) -> None:
    end = Statement(select(func.pg_terminate_backend(func.pg_backend_pid()).label("ended")))
    with pytest.raises(OperationalError) as caught, writing() as connection:
        BEAT.run(connection, beat("w"))
        end.first(connection, {})
    assert caught.value.connection_invalidated
    with writing() as connection:
        assert BEATS.all(connection, {}) == []
        BEAT.run(connection, beat("w"))
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@ON_POSTGRES
def test_a_connection_that_was_lost_before_the_commit_commits_nothing(app: Flask) -> None:
    with pytest.raises(OperationalError), writing() as connection:
        BEAT.run(connection, beat("w"))
        connection.connection.driver_connection.close()  # type: ignore[union-attr]
    with snapshot() as connection:
        assert BEATS.all(connection, {}) == []
