"""Transactions lose nothing under concurrency, on both databases."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import insert, orm, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SAWarning

from common import clock, ids
from common.db import Statement, at_head, db, reading, rerun_lost_race, transaction, upgrade, wake, writing
from common.db.engine import WRITE, own_connection
from common.db.leader import Leadership, Role
from common.db.tables import Heartbeat, Inbox, Outbox
from common.db.wake import listen
from tests.support.eventually import eventually
from tests.support.messaging.house import ON_POSTGRES, ON_SQLITE


def in_threads(app: Flask, count: int, work) -> list[BaseException]:
    errors: list[BaseException] = []

    def run() -> None:
        with app.app_context():
            try:
                work()
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_eighty_concurrent_increments_all_count(app: Flask) -> None:
    with transaction() as session:
        session.add(Outbox(id="1", type="counter", body="", attempts=0))

    def increment() -> None:
        with transaction() as session:
            row = session.get(Outbox, "1", with_for_update=True)
            assert row is not None
            row.attempts += 1

    assert in_threads(app, 80, increment) == []
    with reading() as session:
        row = session.get(Outbox, "1")
        assert row is not None
        assert row.attempts == 80


def test_a_block_that_raises_leaves_nothing(app: Flask) -> None:
    with pytest.raises(RuntimeError), transaction() as session:
        session.execute(insert(Inbox).values(consumer="q", event_id="e", handled_at=clock.now()))
        raise RuntimeError
    with reading() as session:
        assert session.scalars(select(Inbox)).all() == []


def test_bare_statements_commit_together_or_not_at_all_and_lose_nothing(app: Flask) -> None:
    values = {"consumer": "q", "event_id": "e", "handled_at": clock.now()}
    with pytest.raises(RuntimeError), writing() as connection:
        Statement(insert(Inbox), *values).run(connection, values)
        raise RuntimeError
    counter = {"id": "1", "type": "counter", "body": "", "attempts": 0, "created_at": clock.now()}
    with writing() as connection:
        Statement(insert(Outbox), *counter).run(connection, counter)
    look = Statement(select(Outbox.attempts).with_for_update())
    count = Statement(update(Outbox), "attempts")

    def increment() -> None:
        with writing() as connection:
            (row,) = look.all(connection, {})
            assert count.run(connection, {"attempts": row.attempts + 1}) == 1

    assert in_threads(app, 12, increment) == []
    with reading() as session:
        assert session.scalars(select(Inbox)).all() == []
        assert session.scalars(select(Outbox.attempts)).all() == [12]


def test_the_second_run_sees_what_the_winner_of_a_race_wrote(app: Flask) -> None:
    runs = []

    @rerun_lost_race
    def claim() -> str:
        runs.append(1)
        if len(runs) == 1:
            with transaction() as session:
                session.execute(insert(Inbox).values(consumer="q", event_id="e", handled_at=clock.now()))
            with transaction() as session:
                session.execute(insert(Inbox).values(consumer="q", event_id="e", handled_at=clock.now()))
        with reading() as session:
            return "lost" if session.get(Inbox, ("q", "e")) else "won"

    assert claim() == "lost"
    assert len(runs) == 2


def test_a_race_lost_twice_is_raised(app: Flask) -> None:
    @rerun_lost_race
    def collide() -> None:
        with transaction() as session:
            values = {"consumer": "q", "event_id": "e", "handled_at": clock.now()}
            session.execute(insert(Inbox).values(values))
            session.execute(insert(Inbox).values(values))

    with pytest.raises(IntegrityError):
        collide()


def test_a_write_lock_asked_for_after_a_read_is_an_error_not_a_silent_nothing(app: Flask) -> None:
    with reading() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(SAWarning):
            session.connection(execution_options=WRITE)


def test_readers_do_not_wait_for_a_writer(app: Flask) -> None:
    with transaction() as writer:
        writer.add(Heartbeat(name="w", beaten_at=clock.now(), broker_connected=True))
        writer.flush()
        with reading() as session:
            assert session.get(Heartbeat, "w") is None


def test_times_come_back_aware_in_utc(app: Flask) -> None:
    at = clock.now()
    with transaction() as session:
        session.add(Heartbeat(name="w", beaten_at=at, broker_connected=True))
    with reading() as session:
        row = session.get(Heartbeat, "w")
        assert row is not None
        assert row.beaten_at == at
        assert row.beaten_at.utcoffset() is not None


def test_migrations_are_at_head_and_match_the_models(app: Flask) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from auth.models import Base
    from common.db import PlatformBase

    assert at_head()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": None})
        differences = compare_metadata(context, _merged(Base.metadata, PlatformBase.metadata))
    assert differences == []


def test_the_release_before_goes_on_with_the_schema_of_a_newer_one(app: Flask) -> None:
    _claim_revision("9999")
    assert at_head()
    upgrade()  # a rollback runs the former release's migration
    with reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_a_schema_of_an_older_release_is_not_enough(app: Flask) -> None:
    _claim_revision("0001")
    assert not at_head()


def _claim_revision(revision: str) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})


def _merged(*sources):
    from sqlalchemy import MetaData

    merged = MetaData()
    for source in sources:
        for table in source.tables.values():
            table.to_metadata(merged)
    return merged


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_migrate_at_once_do_it_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'fresh.sqlite3'}"
    if kind == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    environment = os.environ | {
        "AUTH_DATABASE_URL": url,
        "AUTH_KEYS_DIR": str(tmp_path / "keys"),
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
    }
    command = [sys.executable, "-m", "flask", "--app", "auth.app", "db", "upgrade"]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs


def test_a_commit_wakes_each_role_to_its_own_and_a_rollback_wakes_nobody(app: Flask) -> None:
    relay, jobs = listen(db.engine, Role.RELAY), listen(db.engine, Role.JOBS)
    try:
        with pytest.raises(RuntimeError), transaction() as session:
            session.add(Outbox(id=ids.new_id(), type="t", body="{}", attempts=0))
            session.flush()
            raise RuntimeError
        assert relay.wait(0.05) == set()
        with transaction() as session:
            session.add(Outbox(id=ids.new_id(), type="t", body="{}", attempts=0))
            wake(session, "deliveries")
        assert relay.wait(30) == {"outbox"}
        assert jobs.wait(30) == {"deliveries"}
        assert relay.wait(0.05) == jobs.wait(0.05) == set()
    finally:
        relay.close()
        jobs.close()


def test_waking_nobody_is_no_error(app: Flask) -> None:
    with transaction() as session:
        wake(session, "outbox")


def test_one_leads_and_another_takes_over_when_it_goes(app: Flask) -> None:
    first, second = Leadership(db.engine, Role.RELAY), Leadership(db.engine, Role.RELAY)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert not second.acquire()
    first.release()
    eventually(second.acquire)  # Postgres lets go once it has seen that the connection is closed
    second.release()


def test_who_relays_keeps_nobody_from_running_the_jobs(app: Flask) -> None:
    with Leadership(db.engine, Role.RELAY) as relay, Leadership(db.engine, Role.JOBS) as jobs:
        assert relay.acquire()
        assert jobs.acquire()


@ON_POSTGRES
def test_a_machine_that_dies_keeps_neither_its_locks_nor_us_waiting(app: Flask) -> None:
    """Postgres holds a dead client's locks for as long as TCP lets it: by default for two hours."""
    with reading() as session, own_connection(db.engine) as own:
        for setting in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"):
            assert 0 < int(session.scalar(text(f"SHOW {setting}")) or 0) <= 10
            assert 0 < int(own.execute(f"SHOW {setting}").fetchone()[0]) <= 10  # type: ignore[index]


def test_a_reading_sees_one_state_of_the_database(app: Flask) -> None:
    with reading() as session:
        assert session.scalars(select(Heartbeat)).all() == []
        with transaction() as writer:
            writer.add(Heartbeat(name="w", beaten_at=clock.now(), broker_connected=True))
        assert session.scalars(select(Heartbeat)).all() == []
    with reading() as session:
        assert len(session.scalars(select(Heartbeat)).all()) == 1


@ON_SQLITE
@pytest.mark.parametrize("write", [transaction, writing])
def test_a_disk_that_is_gone_is_a_database_that_is_gone(app: Flask, write: Callable) -> None:
    file = Path(str(db.engine.url.database))
    db.engine.dispose()
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    with pytest.raises(OperationalError, match="unable to open"), write():
        pass


@ON_SQLITE
@pytest.mark.parametrize("write", [transaction, writing])
def test_a_writer_waits_for_a_thread_and_for_a_process_but_not_for_ever(app: Flask, write: Callable) -> None:
    """A connection beside the pool stands for the other process: it is not in this one's queue."""

    def run() -> None:
        with write():
            pass

    with transaction():
        errors = in_threads(app, 2, run)
    other = sqlite3.connect(str(db.engine.url.database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    errors += in_threads(app, 2, run)
    assert [type(error) for error in errors] == [OperationalError] * 4
    assert all("locked" in str(error) for error in errors)
    released = threading.Timer(0.2, other.rollback)
    released.start()
    assert in_threads(app, 4, run) == []
    released.join()
    other.close()


@ON_SQLITE
def test_a_reader_waits_inside_sqlite_and_a_writer_does_not(app: Flask) -> None:
    ask = text("PRAGMA busy_timeout")
    with transaction() as session, db.engine.connect() as other:
        assert session.scalar(ask) == 0
        assert other.scalar(ask) == 1000
    with db.engine.connect() as first, db.engine.connect() as second:
        assert [each.scalar(ask) for each in (first, second)] == [1000, 1000]


def writes_on() -> int:
    with writing() as connection:
        return id(connection.connection.dbapi_connection)


@ON_SQLITE
def test_writers_use_one_connection_until_it_fails(app: Flask) -> None:
    with transaction() as session:
        first = session.connection().connection.dbapi_connection
        session.add(Outbox(id="1", type="t", body="{}", attempts=0))
    with pytest.raises(RuntimeError), transaction() as session:
        session.add(Outbox(id="2", type="t", body="{}", attempts=0))
        session.flush()
        raise RuntimeError
    assert writes_on() == id(first)
    with pytest.raises(IntegrityError), transaction() as session:
        session.execute(insert(Outbox), {"id": "1", "type": "t", "body": "{}", "attempts": 0})
    assert writes_on() != id(first)
    with reading() as session:
        assert session.scalars(select(Outbox.id)).all() == ["1"]


@ON_SQLITE
@pytest.mark.parametrize("write", [transaction, writing])
def test_a_turn_that_cannot_end_its_transaction_is_undone_before_the_next(
    app: Flask, write: Callable
) -> None:
    event = {"id": "1", "type": "t", "body": "{}", "attempts": 0, "created_at": clock.now()}
    insert_one = Statement(insert(Outbox), *event)
    left = None
    with pytest.raises((KeyboardInterrupt, ProgrammingError)), write() as on:
        runner = on.connection() if isinstance(on, orm.Session) else on
        insert_one.run(runner, event)
        left = runner.connection.dbapi_connection
        left.close()
        raise KeyboardInterrupt
    assert writes_on() != id(left)
    with reading() as session:
        assert session.scalars(select(Outbox.id)).all() == []


@ON_SQLITE
def test_an_engine_that_is_disposed_of_lets_go_of_its_writers_connection(app: Flask) -> None:
    def open_files() -> int:
        path = str(db.engine.url.database)
        return sum(os.path.realpath(link).startswith(path) for link in Path("/proc/self/fd").iterdir())

    with transaction():
        db.engine.dispose()  # while it is used: before the next turn
        assert open_files() > 0
    with writing():
        pass
    db.engine.dispose()
    assert open_files() == 0


@ON_SQLITE
def test_a_commit_stands_though_the_worker_cannot_be_woken(app: Flask) -> None:
    Path(f"{db.engine.url.database}.relay.wake").mkdir()
    with transaction() as session:
        session.add(Outbox(id="1", type="t", body="{}", attempts=0))
    with reading() as session:
        assert session.get(Outbox, "1") is not None


def test_a_failed_statement_shows_nothing_of_what_it_was_given(app: Flask) -> None:
    secret = "the customer's words"
    with pytest.raises(IntegrityError) as refused, transaction() as session:
        for _ in range(2):
            session.execute(insert(Inbox).values(consumer="q", event_id=secret, handled_at=clock.now()))
    assert secret not in str(refused.value).replace(str(refused.value.orig), "")


def test_updates_of_one_row_by_condition_are_exact(app: Flask) -> None:
    with transaction() as session:
        session.add(Outbox(id="1", type="counter", body="", attempts=10))
    taken = []

    def take() -> None:
        with transaction() as session:
            done = session.execute(
                update(Outbox)
                .where(Outbox.id == "1", Outbox.attempts >= 3)
                .values(attempts=Outbox.attempts - 3)
            )
            taken.append(done.rowcount)

    assert in_threads(app, 10, take) == []
    assert sum(taken) == 3
