"""Activations per second against the rate that the element is configured for.

Orders that wait are carried out by one worker's runner (4 threads) on elements that take 5 ms; the ratio is what of the
configured rate was reached, at 20/s and at 60/s.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from common import ids
from common.db import db, reading, transaction, upgrade
from provisioning.commands import CATALOGUE, read_catalogue
from provisioning.gateway import Answer, Call, Found, NetworkElements, Sight, Verdict
from provisioning.jobs import CommandRunner
from provisioning.models import CallRules, Element, Offering, Service, ServiceState
from provisioning.use_cases.catalogue import seed_offerings
from provisioning.use_cases.orders import place_order
from tests.bench.figures import Figure
from tests.support.postgres import PostgresServer
from tests.support.services import make_app

SECONDS = 3
RATES = (20, 60)
BURST = 10  # the default of the setting


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
            with _service(url, Path(folder)) as app:
                for rate in RATES:
                    figures.append(_measure(app, name, rate))
    return figures


@contextmanager
def _service(url: str, folder: Path) -> Iterator[Flask]:
    app = make_app("provisioning", url, folder)
    with app.app_context():
        upgrade()
        with transaction() as session:
            seed_offerings(session, read_catalogue(CATALOGUE))
        yield app
        db.engine.dispose()


def _measure(app: Flask, name: str, rate: int) -> Figure:
    count = rate * SECONDS
    before = _active()
    with transaction() as session:
        offering_id = session.scalars(select(Offering.id).where(Offering.code == "call-waiting")).one()
    for _ in range(count):
        with transaction() as session:
            place_order(
                session,
                order_id=ids.new_id(),
                user_id=ids.new_id(),
                offering_id=offering_id,
                characteristics={},
            )
    rules = CallRules(
        lease=timedelta(seconds=30),
        rate_per_s=rate,
        burst=BURST,
        open_after=5,
        open_for=timedelta(seconds=15),
    )
    runner = CommandRunner(
        app, Prompt(), Element.SUBSCRIBER_REGISTER, threads=4, rules=rules, quarantine=timedelta(days=180)
    )
    began = time.monotonic()
    while runner.run():
        pass
    took = time.monotonic() - began
    runner.close()
    done = _active() - before
    assert done == count, f"{done} of {count} are active"
    return Figure(
        f"{name}: activations at {rate}/s / configured rate", (done - BURST) / took / rate, "", (">=", 0.9)
    )


def _active() -> int:
    with reading() as session:
        counted = select(func.count()).select_from(Service).where(Service.state == ServiceState.ACTIVE)
        return session.scalar(counted) or 0
