"""A settlement of a million lines against a million payments: seconds and memory of the process that does it.

Upload as HTTP has it (streamed), then the worker's job until the run is complete; one line in a thousand differs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flask import Flask

from common import clock, ids
from common.db import db, transaction, upgrade
from common.db.bulk import insert_many
from payment.jobs import compare_settlements
from payment.models import MethodType, Payment, PaymentState, ReferenceType
from tests.bench.figures import Figure
from tests.support import services
from tests.support.postgres import PostgresServer

LINES = 1_000_000
CHUNK = 20_000
COLUMNS = (
    "id", "user_id", "reference_type", "amount_minor", "currency", "refunded_minor", "state", "method_type",
    "gateway", "awaits_reference", "released", "otp_tries", "checks", "created_at", "completed_at",
)  # fmt: skip


def run() -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="sri-care-bench-") as folder, PostgresServer() as postgres:
        for name, url in (
            ("SQLite", f"sqlite:///{folder}/payment.sqlite3"),
            ("Postgres", postgres.create_database()),
        ):
            file = Path(folder) / f"{name}.csv"
            _prepare(url, file)
            command = [sys.executable, "-m", "tests.bench.reconciliation", url, str(file)]
            done = subprocess.run(command, capture_output=True, check=True, text=True, env=os.environ)
            measured = json.loads(done.stdout.splitlines()[-1])
            figures += [
                Figure(f"{name}: 1 M lines uploaded", measured["upload_s"], "s"),
                Figure(
                    f"{name}: 1 M lines reconciled, all together", measured["total_s"], "s", ("<=", 120.0)
                ),
                Figure(f"{name}: largest memory", measured["memory_mb"], "MB", ("<=", 300.0)),
            ]
    return figures


def _prepare(url: str, file: Path) -> None:
    app = services.make_app("payment", url, file.parent)
    with app.app_context(), file.open("w") as csv:
        upgrade()
        csv.write("kind,key,amount_minor,currency\n")
        now, user_id = clock.now(), ids.new_id()
        for start in range(0, LINES, CHUNK):
            keys = [ids.new_id() for _ in range(CHUNK)]
            rows = (
                (
                    key, user_id, ReferenceType.ORDER.value, 120_000, "LKR", 0, PaymentState.COMPLETED.value,
                    MethodType.CARD.value, "simulated", False, False, 0, 0, now, now,
                )
                for key in keys
            )  # fmt: skip
            with transaction() as session:
                insert_many(session, Payment.__table__, COLUMNS, rows)
            for number, key in enumerate(keys, start):
                csv.write(f"charge,{key},{120_001 if number % 1000 == 0 else 120_000},LKR\n")
        db.engine.dispose()


def _measure(app: Flask, file: Path) -> dict[str, float]:
    today = clock.today().isoformat()
    began = time.perf_counter()
    with file.open("rb") as stream:
        answer = app.test_client().post(
            "/api/payment/admin/reconciliations",
            query_string={"gateway": "simulated", "from_on": today, "to_on": today},
            input_stream=stream,
            content_length=file.stat().st_size,
            content_type="text/csv",
            headers=services.bearer(None, "admin"),
        )
    assert answer.status_code == 202, answer.text
    uploaded = time.perf_counter()
    while compare_settlements():
        pass
    total = time.perf_counter() - began
    path = f"/api/payment/admin/reconciliations/{answer.json['id']}"
    done = app.test_client().get(path, headers=services.bearer(None, "admin")).json
    assert done["state"] == "completed", done
    assert done["differences"] == {"amount_differs": LINES // 1000}, done
    return {"upload_s": uploaded - began, "total_s": total, "memory_mb": _largest_memory_mb()}


def _largest_memory_mb() -> float:
    """Not `ru_maxrss`: a process takes that over from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    payment = services.make_app("payment", sys.argv[1], Path(sys.argv[2]).parent)
    with payment.app_context():
        print(json.dumps(_measure(payment, Path(sys.argv[2]))))
        db.engine.dispose()
