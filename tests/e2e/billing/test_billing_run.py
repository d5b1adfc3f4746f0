"""A month billed by two real workers, both killed in the middle: a third finishes, and everybody has one invoice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from billing.models import BillingRun, BillingSlice, Invoice, RunState
from billing.use_cases import billing_runs
from common import clock, ids
from common.db import reading, transaction
from tests.support.billing import many_subscribers, trial_balance
from tests.support.eventually import crowding, eventually
from tests.support.services import emitted, service_fixtures

database_url, app, client = service_fixtures("billing")

SUBSCRIBERS = 600


@contextmanager
def worker(database_url: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker whose broker is away: that keeps no month from being billed."""
    environment = os.environ | {
        "BILLING_DATABASE_URL": database_url,
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        "JWKS_URL": "http://127.0.0.1:9/",
        "SRICARE_ENV": "development",
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "billing.worker"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(12 * crowding()) == 0


def slices_done() -> int:
    with reading() as session:
        done = select(func.count()).select_from(BillingSlice).where(BillingSlice.done_at.is_not(None))
        return session.scalar(done) or 0


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_month_billed_by_workers_that_are_killed_has_one_invoice_for_everybody(
    app: Flask, client: FlaskClient, database_url: str, tmp_path: Path
) -> None:
    users, period = many_subscribers(SUBSCRIBERS), f"{clock.today():%Y-%m}"
    with transaction() as session:
        run_id = billing_runs.start_run(
            session, run_id=ids.new_id(), period=period, requested_by=ids.new_id()
        ).id
    with worker(database_url, tmp_path) as first, worker(database_url, tmp_path) as second:
        eventually(lambda: slices_done() >= 1, within=30, every=0.005)
        kill(first)
        eventually(lambda: slices_done() >= 3, within=30, every=0.005)
        kill(second)
    with worker(database_url, tmp_path):

        def completed() -> bool:
            with reading() as session:
                return session.get_one(BillingRun, run_id).state is RunState.COMPLETED

        eventually(completed, within=60)
    with reading() as session:
        invoices = session.execute(select(Invoice.user_id, Invoice.number, Invoice.period)).all()
    assert sorted(user_id for user_id, _, _ in invoices) == sorted(users)
    year = clock.today().year
    assert sorted(number for _, number, _ in invoices) == [
        f"INV-{year}-{n:06d}" for n in range(1, SUBSCRIBERS + 1)
    ]
    assert {found for _, _, found in invoices} == {period}
    assert len(emitted("invoice.issued")) == SUBSCRIBERS
    assert trial_balance(client)["balanced"]
