"""The worker around relay and consumers: jobs, housekeeping, heartbeat, topology given or declared."""

import threading
import time
from datetime import timedelta

import httpx
import pytest

from common import clock
from common.db import db, reading, transaction, wake
from common.db.tables import Heartbeat, Inbox, Outbox
from common.messaging import definitions, janitor, topology
from common.messaging.broker import parameters
from common.messaging.worker import Job
from dev.ports import free_ports
from tests.support.eventually import crowding, eventually
from tests.support.messaging.house import ON_SQLITE, House

pytestmark = pytest.mark.broker


def test_a_job_runs_in_its_time_and_at_once_when_rung(house: House) -> None:
    runs: list[float] = []
    with house.worker(jobs=[Job("count", 3600, lambda: runs.append(time.monotonic()))]):
        eventually(lambda: len(runs) >= 1)
        for _ in range(3):  # at the start it is rung once, which may come late
            before = len(runs)
            with house.app.app_context(), transaction() as session:
                wake(session, "count")
            eventually(lambda seen=before: len(runs) > seen)
    assert len(runs) <= 5


@ON_SQLITE
def test_a_job_that_has_more_to_do_runs_again_at_once(house: House) -> None:
    left = list(range(5))

    def work() -> bool:
        left.pop()
        return bool(left)

    with house.worker(jobs=[Job("work", 3600, work)]):
        eventually(lambda: not left)


@ON_SQLITE
def test_a_job_that_fails_ends_neither_itself_nor_others(house: House) -> None:
    runs: list[int] = []

    def fail() -> None:
        runs.append(1)
        raise RuntimeError("no")

    with house.worker(jobs=[Job("fail", 0.05, fail)]) as worker:
        eventually(lambda: len(runs) > 3)
        house.emit(1)
        eventually(lambda: house.effects() == [1])
        assert worker.alive


def test_a_job_of_the_leader_runs_in_one_worker_and_any_other_job_in_all(house: House) -> None:
    led: set[str] = set()
    all_over: set[str] = set()

    def jobs(worker: str) -> list[Job]:
        return [
            Job("led", 0.05, lambda: led.add(worker)),
            Job("all", 0.05, lambda: all_over.add(worker), leader_only=False),
        ]

    with house.worker(jobs=jobs("first")):
        eventually(lambda: led)
        with house.worker(jobs=jobs("second")):
            eventually(lambda: all_over == {"first", "second"})
            assert led == {"first"}


def test_the_janitor_forgets_what_is_old_and_nothing_else(house: House) -> None:
    now = clock.now()
    old, older = now - timedelta(days=8), now - timedelta(days=31)
    with house.app.app_context(), transaction() as session:
        for n in range(janitor.BATCH + 10):
            session.add(
                Outbox(id=f"published-{n}", type="t", body="{}", created_at=old, published_at=old, attempts=0)
            )
            session.add(Inbox(consumer="q", event_id=f"old-{n}", handled_at=older))
        session.add(Outbox(id="waiting", type="t", body="{}", created_at=old, attempts=1))
        session.add(Outbox(id="recent", type="t", body="{}", created_at=now, published_at=now, attempts=0))
        session.add(Inbox(consumer="q", event_id="recent", handled_at=now))
    with house.app.app_context():
        assert janitor.tidy()
        assert not janitor.tidy()
        with reading() as session:
            assert set(house.outbox()) == {"waiting", "recent"}
            assert [row.event_id for row in session.query(Inbox)] == ["recent"]


def test_the_heartbeat_says_whether_the_worker_has_its_broker(house: House) -> None:
    def beat() -> bool | None:
        with house.app.app_context(), reading() as session:
            row = session.get(Heartbeat, f"{house.name}.worker")
            return row and row.broker_connected and row.beaten_at >= began

    began = clock.now()
    with house.worker():
        eventually(beat)


def test_a_worker_waits_for_its_database_to_be_migrated(house: House) -> None:
    with house.app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    house.emit(1)
    with house.worker_process() as worker:
        eventually(lambda: "waiting for the database" in (house.folder / "worker.log").read_text(), within=60)
        assert house.effects() == []
        with house.app.app_context(), db.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        eventually(lambda: house.effects() == [1], within=60)
        worker.terminate()
        assert worker.wait(10 * crowding()) == 0


@ON_SQLITE
def test_a_worker_that_expects_its_topology_waits_until_it_is_there(house: House) -> None:
    house.environment["RABBITMQ_TOPOLOGY"] = "expect"
    house.emit(1)
    with house.worker_process():
        eventually(lambda: "waiting for the broker's definitions" in log(house), within=60)
        assert house.unpublished() == 1
        house.declare()
        eventually(lambda: house.effects() == [1], within=60)


@ON_SQLITE
def test_a_worker_offers_its_metrics_on_its_port(house: House) -> None:
    [port] = free_ports(1)
    house.environment[f"{house.name}_WORKER_METRICS_PORT".upper()] = str(port)

    def metrics() -> str:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").text

    with house.worker_process():
        house.emit(1)
        eventually(lambda: house.effects() == [1], within=60)
        handled = f'events_handled_total{{queue="{house.queue}",type="thing.happened"}} 1.0'
        eventually(lambda: handled in metrics())
        assert 'events_published_total{type="thing.happened"} 1.0' in metrics()
        assert "event_relay_lag_seconds_count 1.0" in metrics()


@ON_SQLITE
def test_a_worker_that_has_lost_a_thread_exits_1_to_be_started_again(house: House) -> None:
    with house.worker_process(fault="thread") as worker:
        assert worker.wait(60) == 1


def log(house: House) -> str:
    return (house.folder / "worker.log").read_text()


@ON_SQLITE
def test_the_definitions_are_what_a_worker_declares(house: House) -> None:
    """The broker refuses to declare a queue again with other arguments."""
    given = definitions.definitions()
    with house.broker() as connection:
        channel = connection.channel()
        for exchange in given["exchanges"]:
            channel.exchange_declare(exchange["name"], exchange["type"], durable=exchange["durable"])
        for queue in given["queues"]:
            channel.queue_declare(queue["name"], durable=queue["durable"], arguments=queue["arguments"])
        for binding in given["bindings"]:
            channel.queue_bind(binding["destination"], binding["source"], binding["routing_key"])
        assert topology.missing(connection) is None
        topology.declare(connection)
    house.emit(1)
    with house.worker():
        eventually(lambda: house.effects() == [1])


@ON_SQLITE
def test_threads_of_a_worker_declare_the_topology_once(house: House) -> None:
    shared = topology.Topology(house.rabbitmq_url, "declare", "test")
    since = time.monotonic()
    declared = []
    declare = topology.declare

    def counted(connection: object) -> None:
        declared.append(connection)
        declare(connection)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "declare", counted)
        threads = [threading.Thread(target=shared.ensure, args=(since, lambda: False)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(declared) == 1
    assert parameters(house.rabbitmq_url, "x").heartbeat == 10
