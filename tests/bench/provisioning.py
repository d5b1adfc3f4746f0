"""Activations per second against the rate that the elements are configured for.

Orders that wait are carried out by the runners of two worker processes, with the settings' default of threads, on
elements that take 5 ms to answer; the ratio is what was reached of the configured rate: by the slowest of four elements
at once at the default rate, and by one element at four times that rate. (One worker's processor is used up by some 400
activations a second: on Postgres it reached 0.90 of both.)
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, select

from common import ids
from common.db import db, reading, transaction, upgrade
from provisioning.config import Settings
from provisioning.gateway import Answer, Call, Found, NetworkElements, Sight, Verdict
from provisioning.jobs import CommandRunner
from provisioning.models import CallRules, Category, Element, Offering, Service, ServiceState
from provisioning.schemas import OfferingIn
from provisioning.use_cases.catalogue import seed_offerings
from provisioning.use_cases.orders import place_order
from tests.bench.figures import Figure
from tests.support.postgres import PostgresServer
from tests.support.services import make_app

SECONDS = 6  # the first burst and the last settling take a quarter of a second together
FASTER = 4
WORKERS = 2


class Prompt(NetworkElements):
    """Does as told, remembers nothing."""

    def execute(self, call: Call) -> Answer:
        time.sleep(0.005)
        return Answer(Verdict.DONE)

    def inspect(self, element: Element, service_id: str) -> Sight:
        return Sight(Found.UNKNOWN)

    def close(self) -> None:
        """There is nothing to close."""


def run() -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="sri-care-bench-") as folder, PostgresServer() as postgres:
        for name, url in (
            ("SQLite", f"sqlite:///{folder}/provisioning.sqlite3"),
            ("Postgres", postgres.create_database()),
        ):
            with _service(url, Path(folder)) as app, _workers(url, folder) as workers:
                rules: CallRules = _settings(app).call_rules
                reached, cost_ms = _measure(workers, list(Element), rules)
                title = f"{name}: activations of {len(Element)} elements at {rules.rate_per_s:.0f}/s each"
                figures.append(Figure(f"{title} / rate", reached, "", (">=", 0.95)))
                figures.append(Figure("  processor time of a worker per activation", cost_ms, "ms"))
                faster = replace(rules, rate_per_s=FASTER * rules.rate_per_s, burst=FASTER * rules.burst)
                reached, cost_ms = _measure(workers, [Element.CHARGING], faster)
                title = f"{name}: activations of one element at {faster.rate_per_s:.0f}/s"
                figures.append(Figure(f"{title} / rate", reached, "", (">=", 0.9)))
                figures.append(Figure("  processor time of a worker per activation", cost_ms, "ms"))
    return figures


@contextmanager
def _service(url: str, folder: Path) -> Iterator[Flask]:
    """A service that sells one free offering per element."""
    app = make_app("provisioning", url, folder)
    with app.app_context():
        upgrade()
        with transaction() as session:
            seed_offerings(session, [_offering(element) for element in Element])
        yield app
        db.engine.dispose()


@contextmanager
def _workers(url: str, folder: str) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin each task together."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, spawn, _begin, (url, folder, spawn.Barrier(WORKERS))) as pool:
        yield pool


def _begin(url: str, folder: str, together: Any) -> None:
    _worker["app"], _worker["together"] = make_app("provisioning", url, Path(folder)), together


_worker: dict[str, Any] = {}
"""What a worker process has from its beginning."""


def _offering(element: Element) -> OfferingIn:
    return OfferingIn(
        code=element.value,
        name=element.value,
        description=element.value,
        category=Category.DATA,
        price_minor=0,
        stackable=True,
        element=element,
    )


def _settings(app: Flask) -> Settings:
    found: Settings = app.extensions["sricare_settings"]
    return found


def _measure(
    workers: ProcessPoolExecutor, elements: Sequence[Element], rules: CallRules
) -> tuple[float, float]:
    """The share of the rate that the slowest of the elements was called at, without what came in its first burst; and
    the milliseconds of processor time that an activation took."""
    count = int(rules.rate_per_s * SECONDS) + rules.burst
    for each in (WORKERS, count):  # first what is done once only: statements compiled, connections opened
        for element in elements:
            _order(element, each)
        before = _active()
        tasks = [workers.submit(_carry_out_all, elements, rules) for _ in range(WORKERS)]
        took, busy = zip(*(task.result() for task in tasks), strict=True)
        done = _active() - before
        assert done == each * len(elements), f"{done} of {each * len(elements)} are active"
    return (count - rules.burst) / max(took) / rules.rate_per_s, 1000 * sum(busy) / done


def _carry_out_all(elements: Sequence[Element], rules: CallRules) -> tuple[float, float]:
    """In a worker: seconds until nothing is left to do, and those of its processor."""
    _worker["together"].wait()
    began, busy = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(len(elements)) as pool:
        list(pool.map(lambda element: _carry_out(_worker["app"], element, rules), elements))
    return time.monotonic() - began, time.process_time() - busy


def _order(element: Element, count: int) -> None:
    with reading() as session:
        offering_id = session.scalars(select(Offering.id).where(Offering.code == element.value)).one()
    with transaction() as session:
        for _ in range(count):
            place_order(
                session,
                order_id=ids.new_id(),
                user_id=ids.new_id(),
                offering_id=offering_id,
                characteristics={},
            )


def _carry_out(app: Flask, element: Element, rules: CallRules) -> None:
    runner = CommandRunner(
        app,
        Prompt(),
        element,
        threads=_settings(app).element_threads,
        rules=rules,
        quarantine=timedelta(days=180),
    )
    with app.app_context():
        while runner.run():
            pass
    runner.close()


def _active() -> int:
    with reading() as session:
        counted = select(func.count()).select_from(Service).where(Service.state == ServiceState.ACTIVE)
        return session.scalar(counted) or 0
