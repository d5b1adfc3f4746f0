"""A service's worker process: relay, consumers, jobs, each in threads of their own; heartbeat; a clean end.

What a service's `worker.py` calls is `run_worker`; `Worker` is its inside, for tests that are their own process.
"""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from common import clock
from common.db import at_head, rerun_lost_race, transaction
from common.db.tables import Heartbeat
from common.messaging import metrics
from common.messaging.consumer import Consumer
from common.messaging.handling import Handler, Handlers
from common.messaging.janitor import JANITOR
from common.messaging.jobs import Job, JobRunner
from common.messaging.leading import Leader
from common.messaging.relay import Relay
from common.messaging.topology import Topology
from common.settings import Settings

__all__ = ["Handler", "Handlers", "Job", "Worker", "run_worker"]

log = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
HEARTBEAT_EVERY_S = 2.0
STOP_WITHIN_S = 6.0
OUTBOX = "outbox"


def run_worker(app: Flask, consumers: Mapping[str, Handlers], jobs: Sequence[Job] = ()) -> None:
    """Relay this service's outbox, consume its queues, run its jobs, until SIGTERM or SIGINT.

    Call it in the main thread. Returns within 10 s of the signal, whatever broker and database do; exits 1 when one
    of its threads has died.
    """
    settings: Settings = app.extensions["sricare_settings"]
    with _signals() as signalled:
        if not _wait_until_migrated(app, signalled):
            return
        if settings.worker_metrics_port:
            loopback = settings.environment == "development"
            metrics.serve(settings.worker_metrics_port, "127.0.0.1" if loopback else "0.0.0.0")  # noqa: S104
        worker = Worker(app, consumers, jobs)
        worker.start()
        while not signalled(CHECK_EVERY_S):
            if not worker.alive:
                log.critical("a thread of the worker has died")
                raise SystemExit(1)
        log.info("worker stops")
        left = worker.stop(STOP_WITHIN_S)
    log.log(logging.WARNING if left else logging.INFO, "worker stopped", extra={"unfinished": left})


class Worker:
    """The threads of a worker."""

    def __init__(self, app: Flask, consumers: Mapping[str, Handlers], jobs: Sequence[Job] = ()) -> None:
        settings: Settings = app.extensions["sricare_settings"]
        self._app = app
        self._name = f"{settings.SERVICE}.worker"
        self._stop = threading.Event()
        topology = Topology(settings.rabbitmq_url, settings.topology, f"{settings.SERVICE}.topology")
        self._relay = Relay(app, settings, topology, self._stop)
        self._consumers = [
            Consumer(app, settings, queue, handlers, topology, self._stop)
            for queue, handlers in consumers.items()
        ]
        self._jobs = {
            job.name: JobRunner(app, job, self._relay.leads, self._stop) for job in (*jobs, JANITOR)
        }
        leader = Leader(app, self._relay.leads, self._ring, self._stop)
        runs: dict[str, Callable[[], None]] = {
            "leader": leader.run,
            "relay": self._relay.run,
            "heartbeat": self._keep_beating,
        }
        runs |= {consumer.queue: consumer.run for consumer in self._consumers}
        runs |= {f"job {name}": runner.run for name, runner in self._jobs.items()}
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for name, run in runs.items()]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def broker_connected(self) -> bool:
        """Whether every consumer, and the relay if it is its turn, has the broker."""
        relays = self._relay.connected or not self._relay.leads.is_set()
        return relays and all(consumer.connected for consumer in self._consumers)

    def stop(self, within: float) -> list[str]:
        """Take nothing new, finish what is in hand; returns the threads that had not ended in time."""
        self._stop.set()
        self._ring(None)
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep_beating(self) -> None:
        """Tell `/health` that this worker is alive. A database that is away is not the worker's fault, and one that
        hangs keeps this thread waiting but not the worker from ending."""
        while not self._stop.wait(HEARTBEAT_EVERY_S):
            try:
                with self._app.app_context():
                    rerun_lost_race(_beat)(self._name, self.broker_connected)
            except SQLAlchemyError as error:
                log.warning("no heartbeat written: %s", type(error).__name__)

    def _ring(self, names: set[str] | None) -> None:
        if names is None or OUTBOX in names:
            self._relay.wake()
        for name, runner in self._jobs.items():
            if names is None or name in names:
                runner.wake()


def _beat(name: str, broker_connected: bool) -> None:
    with transaction() as session:
        row = session.get(Heartbeat, name)
        if row is None:
            session.add(Heartbeat(name=name, beaten_at=clock.now(), broker_connected=broker_connected))
        else:
            row.beaten_at, row.broker_connected = clock.now(), broker_connected


def _wait_until_migrated(app: Flask, signalled: Callable[[float], bool]) -> bool:
    """Return True when the database has this release's schema, False when told to stop before."""
    told = False
    with app.app_context():
        while True:
            try:
                if at_head():
                    return True
                state = "not migrated to this release"
            except SQLAlchemyError as error:
                state = f"not available ({type(error).__name__})"
            if not told:
                log.warning("waiting for the database: it is %s", state)
                told = True
            if signalled(0.5):
                return False


@contextmanager
def _signals() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits up to so many seconds and says whether SIGTERM or SIGINT has come.

    A pipe, not an Event set in a signal handler: the handler would run in the thread that holds the Event's lock.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    fd_before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield lambda seconds: bool(select.select([readable], [], [], seconds)[0])
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(readable)
        os.close(writable)
