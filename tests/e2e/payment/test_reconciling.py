"""Reconciliations whose process is killed -9 in a batch: the run goes on and counts every line once."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from common import clock, ids
from common.db import reading
from payment.gateway.simulated import settlement
from payment.jobs import compare_settlements
from payment.models import Reconciliation
from tests.support.payments import top_up
from tests.support.services import bearer, service_fixtures

ADMIN = ids.new_id()
PATH = "/api/payment/admin/reconciliations"
database_url, app, client = service_fixtures("payment")


def test_a_run_whose_process_is_killed_goes_on_at_its_last_batch(
    app: Flask, client: FlaskClient, database_url: str, tmp_path: Path
) -> None:
    for amount in (100, 200, 300, 400, 500):
        top_up(client, ids.new_id(), amount)
    now = clock.now()
    file = b"".join(settlement(now - timedelta(hours=1), now + timedelta(hours=1)))
    today = clock.today().isoformat()
    run_id = client.post(
        PATH,
        data=file.replace(b",300,", b",301,"),
        headers=bearer(ADMIN, "admin") | {"Content-Type": "text/csv"},
        query_string={"gateway": "simulated", "from_on": today, "to_on": today},
    ).json["id"]
    for compared in (2, 4):  # theirs twice; each process commits one batch and dies in the next
        program = [sys.executable, "-m", "tests.support.reconciling", database_url, str(tmp_path), "2"]
        assert subprocess.run(program, check=False).returncode == -signal.SIGKILL
        with reading() as session:
            assert session.get_one(Reconciliation, run_id).line == compared
    while compare_settlements():
        pass
    done = client.get(f"{PATH}/{run_id}", headers=bearer(ADMIN, "admin")).json
    assert (done["state"], done["compared"], done["matched"]) == ("completed", 5, 4)
    assert done["differences"] == {"amount_differs": 1}
