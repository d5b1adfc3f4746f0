"""Periodic work of a worker: each job has its own thread, runs in time or when rung, and survives its own failures."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from common.messaging import metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """`run` is called inside an application context, opens its own transactions, and must be safe to repeat.

    It is called every `every_s` seconds, and at once when rung by `wake(session, name)`; returning True means that
    there is more to do now. With `leader_only` it runs in one of a service's workers at a time.
    """

    name: str
    every_s: float
    run: Callable[[], bool | None]
    leader_only: bool = True


class JobRunner:
    """One job's thread."""

    def __init__(self, app: Flask, job: Job, leads: threading.Event, stop: threading.Event) -> None:
        self.job = job
        self._app = app
        self._leads = leads
        self._stop = stop
        self._rung = threading.Event()

    def wake(self) -> None:
        """Run now, or look at whether to stop (from any thread)."""
        self._rung.set()

    def run(self) -> None:
        """Run the job in its time until stopped."""
        while not self._stop.is_set():
            if self.job.leader_only and not self._leads.is_set():
                self._pause(1.0)
                continue
            if not self._run_once():
                self._pause(self.job.every_s)

    def _pause(self, seconds: float) -> None:
        self._rung.wait(seconds)
        self._rung.clear()

    def _run_once(self) -> bool:
        began = time.perf_counter()
        try:
            with self._app.app_context():
                return bool(self.job.run())
        except Exception:
            metrics.JOB_FAILURES.labels(self.job.name).inc()
            log.exception("job %s failed", self.job.name)
            return False
        finally:
            metrics.JOB_SECONDS.labels(self.job.name).observe(time.perf_counter() - began)
