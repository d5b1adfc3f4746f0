"""HTTP in: `/api/billing`."""

import time

from flask import Blueprint, Response, current_app

from billing import queries
from billing.config import Settings
from billing.errors import InvoiceNotVoidable
from billing.models import RunState
from billing.schemas import (
    AccountOut,
    CustomerQuery,
    DunningRunOut,
    InvoiceIn,
    InvoiceOut,
    InvoicesQuery,
    LedgerQuery,
    StatementLineOut,
    TrialBalanceOut,
)
from billing.use_cases import dunning, invoices
from common.db import reading, snapshot, transaction, wake
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id

routes = Blueprint("billing", __name__)

STAFF = frozenset({"agent", "admin"})
ANSWER_WITHIN_S = 5.0
"""A dunning run that takes longer is left to the worker."""


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _whose(user_id: str | None) -> str:
    """The customer whom a read is about. Raises NotFound for another's unless the caller is staff."""
    caller = identity()
    if user_id is None or user_id == caller.user_id:
        return caller.user_id
    if not caller.roles & STAFF:
        raise NotFound()
    return user_id


@routes.get("/account")
@operation("The billing account", query=CustomerQuery, returns={200: AccountOut}, raises=(NotFound,))
def get_account(query: CustomerQuery) -> Response:
    with reading() as session:
        return reply(AccountOut.of(queries.get_account(session, _whose(query.user_id))))


@routes.get("/invoices")
@operation("List invoices", query=InvoicesQuery, returns={200: InvoiceOut}, page=True, raises=(NotFound,))
def list_invoices(query: InvoicesQuery) -> Response:
    with snapshot() as connection:
        page = queries.list_invoices(
            connection,
            _whose(query.user_id),
            query,
            state=query.state,
            issued_from=query.issued_from,
            issued_to=query.issued_to,
        )
    return reply_page(page)


@routes.get("/invoices/<id:invoice_id>")
@operation("One invoice", returns={200: InvoiceOut})
def get_invoice(invoice_id: str) -> Response:
    owner_id = None if identity().roles & STAFF else identity().user_id
    with reading() as session:
        return reply(InvoiceOut.of(queries.get_invoice(session, invoice_id, owner_id=owner_id)))


@routes.get("/ledger")
@operation(
    "The customer's statement", query=LedgerQuery, returns={200: StatementLineOut}, page=True, raises=(NotFound,)
)  # fmt: skip
def list_ledger(query: LedgerQuery) -> Response:
    with reading() as session:
        account = queries.get_account(session, _whose(query.user_id))
        return reply_page(queries.list_statement(session, account, query))


@routes.post("/admin/invoices")
@operation(
    "Issue an invoice",
    body=InvoiceIn,
    returns={201: InvoiceOut},
    roles=("admin",),
    idempotent=True,
    raises=(NotFound,),
)
def post_invoice(body: InvoiceIn) -> Response:
    """404 until the user's account is there, which is a moment after the registration."""
    lines = [invoices.Line(line.description, line.quantity, line.unit_price) for line in body.lines]
    with transaction() as session:
        invoice = invoices.issue_invoice(
            session,
            invoice_id=work_id(),
            user_id=body.user_id,
            lines=lines,
            due_on=body.due_on,
            period=body.period,
            taxes=_settings().taxes,
            created_by=identity().user_id,
        )
        return reply(InvoiceOut.of(invoice), 201)


@routes.post("/admin/invoices/<id:invoice_id>/void")
@operation(
    "Cancel an invoice that is not paid yet",
    returns={200: InvoiceOut},
    roles=("admin",),
    raises=(InvoiceNotVoidable,),
)
def post_invoice_void(invoice_id: str) -> Response:
    """What was paid on it becomes the account's credit."""
    with transaction() as session:
        return reply(
            InvoiceOut.of(invoices.void_invoice(session, invoice_id=invoice_id, voided_by=identity().user_id))
        )


@routes.post("/admin/dunning-runs")
@operation("Dun all accounts as of today", returns={201: DunningRunOut}, roles=("admin",))
def post_dunning_run() -> Response:
    """Answers with the completed run, or with one still running that the worker goes on with."""
    run_id, answer_by = work_id(), time.monotonic() + ANSWER_WITHIN_S
    with transaction() as session:
        run = dunning.start_run(session, run_id=run_id, requested_by=identity().user_id)
    while run.state is RunState.RUNNING and time.monotonic() < answer_by:
        with transaction() as session:
            run = dunning.advance_run(session, run_id=run_id, rules=_settings().dunning)
    with transaction() as session:
        if run.state is RunState.RUNNING:
            wake(session, "dunning")
        return reply(DunningRunOut.of(run), 201)


@routes.get("/admin/dunning-runs/<id:run_id>")
@operation("How far a dunning run is", returns={200: DunningRunOut}, roles=("admin",))
def get_dunning_run(run_id: str) -> Response:
    with reading() as session:
        return reply(DunningRunOut.of(queries.get_dunning_run(session, run_id)))


@routes.get("/admin/ledger/trial-balance")
@operation("The sums of all ledger accounts", returns={200: TrialBalanceOut}, roles=("admin",))
def get_trial_balance() -> Response:
    with reading() as session:
        return reply(TrialBalanceOut.of(queries.trial_balance(session), _settings().currency))
