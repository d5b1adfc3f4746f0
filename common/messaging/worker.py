"""A service's processes beside the web: the worker (relay, consumers and jobs, in threads of their own), and the relay
by itself; heartbeat; a clean end.

What a service's `worker.py` and `relay.py` call is `run_worker` and `run_relay`; `Worker` and `RelayAlone` are their
insides, for tests that are their own process.
"""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from common import clock
from common.db import at_head, rerun_lost_race, transaction
from common.db.leader import Role
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

__all__ = ["Handler", "Handlers", "Job", "RelayAlone", "Worker", "run_relay", "run_worker"]

log = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
HEARTBEAT_EVERY_S = 2.0
STOP_WITHIN_S = 6.0


def run_worker(app: Flask, consumers: Mapping[str, Handlers], jobs: Sequence[Job] = ()) -> None:
    """Relay this service's outbox, consume its queues, run its jobs, until SIGTERM or SIGINT.

    Call it in the main thread. Returns within 10 s of the signal, whatever broker and database do; exits 1 when one
    of its threads has died.
    """
    _run(app, lambda: Worker(app, consumers, jobs))


def run_relay(app: Flask) -> None:
    """Relay this service's outbox and do nothing else, until SIGTERM or SIGINT; otherwise as `run_worker`.

    Of any number of relays and workers one at a time relays.
    """
    _run(app, lambda: RelayAlone(app))


def _run(app: Flask, make: "Callable[[], Crew]") -> None:
    settings: Settings = app.extensions["sricare_settings"]
    with _signals() as signalled:
        if not _wait_until_migrated(app, signalled):
            return
        if settings.worker_metrics_port:
            loopback = settings.environment == "development"
            metrics.serve(settings.worker_metrics_port, "127.0.0.1" if loopback else "0.0.0.0")  # noqa: S104
        crew = make()
        crew.start()
        while not signalled(CHECK_EVERY_S):
            if not crew.alive:
                log.critical("a thread of the %s has died", crew.kind)
                raise SystemExit(1)
        log.info("%s stops", crew.kind)
        left = crew.stop(STOP_WITHIN_S)
    log.log(logging.WARNING if left else logging.INFO, "%s stopped", crew.kind, extra={"unfinished": left})


class Crew:
    """The threads of a process that relays when it leads; they start and end together."""

    kind: ClassVar[str]

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.extensions["sricare_settings"]
        self._app = app
        self._settings = settings
        self._stop = threading.Event()
        self._topology = Topology(settings.rabbitmq_url, settings.topology, f"{settings.SERVICE}.topology")
        self._relay = Relay(app, settings, self._topology, self._stop)
        self._threads: list[threading.Thread] = []
        self._add("heartbeat", self._keep_beating)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def broker_connected(self) -> bool:
        """Whether the relay has the broker, if it is its turn."""
        return self._relay.connected or not self._relay.leads.is_set()

    def stop(self, within: float) -> list[str]:
        """Take nothing new, finish what is in hand; returns the threads that had not ended in time."""
        self._stop.set()
        self._ring_all()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _add(self, name: str, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run, name=name, daemon=True))

    def _add_relay(self) -> None:
        self._add("relay", self._relay.run)
        self._add_leader(Role.RELAY, self._relay.leads, lambda _names: self._relay.wake())

    def _add_leader(
        self, role: Role, leads: threading.Event, ring: Callable[[set[str] | None], None]
    ) -> None:
        self._add(f"leader {role}", Leader(self._app, role, leads, ring, self._stop).run)

    def _ring_all(self) -> None:
        self._relay.wake()

    def _keep_beating(self) -> None:
        """Tell `/health` that this process is alive. A database that is away is not its fault, and one that hangs
        keeps this thread waiting but not the process from ending."""
        name = f"{self._settings.SERVICE}.{self.kind}"
        while not self._stop.wait(HEARTBEAT_EVERY_S):
            try:
                with self._app.app_context():
                    rerun_lost_race(_beat)(name, self.broker_connected)
            except SQLAlchemyError as error:
                log.warning("no heartbeat written: %s", type(error).__name__)


class RelayAlone(Crew):
    """The threads of a relay by itself."""

    kind = "relay"

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._add_relay()


class Worker(Crew):
    """The threads of a worker."""

    kind = "worker"

    def __init__(self, app: Flask, consumers: Mapping[str, Handlers], jobs: Sequence[Job] = ()) -> None:
        super().__init__(app)
        if self._settings.worker_relays:
            self._add_relay()
        self._consumers = [
            Consumer(app, self._settings, queue, handlers, self._topology, self._stop)
            for queue, handlers in consumers.items()
        ]
        for consumer in self._consumers:
            self._add(consumer.queue, consumer.run)
        leads = threading.Event()
        self._jobs = {job.name: JobRunner(app, job, leads, self._stop) for job in (*jobs, JANITOR)}
        for name, runner in self._jobs.items():
            self._add(f"job {name}", runner.run)
        self._add_leader(Role.JOBS, leads, self._ring_jobs)

    @property
    def broker_connected(self) -> bool:
        """Whether every consumer has the broker, and the relay if it is its turn."""
        return super().broker_connected and all(consumer.connected for consumer in self._consumers)

    def _ring_jobs(self, names: set[str] | None) -> None:
        for name, runner in self._jobs.items():
            if names is None or name in names:
                runner.wake()

    def _ring_all(self) -> None:
        super()._ring_all()
        self._ring_jobs(None)


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
