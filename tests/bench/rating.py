"""Usage rated, months billed and invoices listed on Postgres, in one process.

Rating starts at the JSON body of a batch and ends with its commits; billing is what each helping worker does in its
loop. The page is the hot list's own query for a customer with a hundred invoices: the tenth of its fastest answers, so
that other load on the machine does not decide the ratio.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from flask import current_app
from sqlalchemy import insert, text

from billing.models import Account, Invoice
from billing.queries import list_invoices
from billing.schemas import UsageIn
from billing.use_cases import billing_runs, usage
from billing.use_cases.periods import period_of
from common import clock, ids
from common.db import PageQuery, db, snapshot, transaction, upgrade
from tests.bench.figures import Figure, percentile
from tests.bench.invoices import an_account, an_invoice
from tests.support.billing import many_subscribers
from tests.support.postgres import PostgresServer
from tests.support.services import make_app

ACCOUNTS = 2_000
RECORDS = 40_000
BATCH = 5_000
MILLION = 1_000_000
TAX = {"code": "VAT", "name": "VAT", "rate_percent": "18"}
RATE = b'[{"kind":"data_mb","name":"Data","included":100,"tiers":[{"up_to":500,"price_minor":10},{"price_minor":5}]}]'


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        app = make_app("billing", server.create_database(), Path(folder), taxes=[TAX])
        with app.app_context():
            upgrade()
            users = many_subscribers(ACCOUNTS, RATE)
            rated = _rate(users)
            billed = _bill()
            near, far = _pages()
            db.engine.dispose()
    return [
        Figure("usage records rated (Postgres)", rated, "1/s", (">=", 10_000)),
        Figure("invoices of a billing run (Postgres)", billed, "1/s", (">=", 500)),
        Figure("  page of 20 invoices among two thousand rows", near * 1e6, "µs"),
        Figure("page among a million rows against two thousand", far / near, "ratio", ("<=", 1.2)),
    ]


def _rate(users: list[str]) -> float:
    at = clock.rfc3339(clock.now())
    bodies = [
        orjson.dumps(
            {
                "records": [
                    {"record_id": f"cdr-{start + n}", "user_id": users[(start + n) // 20 % ACCOUNTS], "kind": "data_mb",
                     "quantity": 37, "occurred_at": at}
                    for n in range(BATCH)
                ]
            }
        )
        for start in range(0, RECORDS, BATCH)
    ]  # fmt: skip
    began = time.perf_counter()
    accepted = 0
    for body in bodies:
        records = UsageIn.model_validate_json(body).records
        for start in range(0, len(records), usage.CHUNK):
            with transaction() as session:
                accepted += usage.rate_records(session, records[start : start + usage.CHUNK]).accepted
    seconds = time.perf_counter() - began
    assert accepted == RECORDS
    return RECORDS / seconds


def _bill() -> float:
    terms = current_app.extensions["sricare_settings"].billing_terms
    with transaction() as session:
        run_id = billing_runs.start_run(
            session, run_id=ids.new_id(), period=period_of(clock.now()), requested_by=ids.new_id()
        ).id
    began = time.perf_counter()
    more = True
    while more:
        with transaction() as session:
            more = billing_runs.advance_run(session, terms)
    seconds = time.perf_counter() - began
    with transaction() as session:
        run = session.get_one(billing_runs.BillingRun, run_id)
        invoices = billing_runs.progress(session, run).invoices
    assert invoices == ACCOUNTS
    return invoices / seconds


def _pages() -> tuple[float, float]:
    """Seconds for a page of a customer's invoices among some two thousand of all, and among a million more."""
    account_id, user_id = ids.new_id(), ids.new_id()
    with transaction() as session:
        session.execute(insert(Account), [an_account(account_id, user_id) | {"number": "STL-9999999999"}])
        own = [an_invoice(n, ids.new_id(), account_id, user_id) | {"number": f"OWN-{n}"} for n in range(100)]
        session.execute(insert(Invoice), own)
    page = PageQuery()

    def read() -> None:
        with snapshot() as connection:
            assert len(list_invoices(connection, user_id, page).items) == 20

    _analyse()
    near = _timed(read)
    columns = [column.name for column in Invoice.__table__.columns]
    others = {"id": "gen_random_uuid()::text", "number": "'OTH-' || n", "user_id": "gen_random_uuid()::text"}
    values = ", ".join(others.get(name, f"i.{name}") for name in columns)
    with transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(
            text(
                f"INSERT INTO invoices ({', '.join(columns)}) SELECT {values} FROM generate_series(1, {MILLION}) n, "
                "(SELECT * FROM invoices WHERE number = 'OWN-0') i"
            )
        )
    _analyse()
    return near, _timed(read)


def _analyse() -> None:
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE invoices"))


def _timed(work: Callable[[], object]) -> float:
    for _ in range(50):
        work()
    samples = []
    for _ in range(1_000):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return percentile(samples, 0.1)
