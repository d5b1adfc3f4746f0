"""What admins and agents do: issue and correct, run, configure."""

import time
from collections.abc import Sequence

from flask import Response

from billing import queries
from billing.errors import (
    AccountInUse,
    DisputeResolved,
    InvoiceNotVoidable,
    NotCreditable,
    PeriodNotBegun,
    PlanCodeTaken,
)
from billing.models import DisputeState, RunState
from billing.routes.base import routes, settings
from billing.schemas import (
    AccountIn,
    AccountOut,
    BillingFailureOut,
    BillingRunIn,
    BillingRunOut,
    CreditNoteIn,
    CreditNoteOut,
    DisputeOut,
    DisputesQuery,
    DunningRunOut,
    InvoiceIn,
    InvoiceOut,
    PlanIn,
    PlanOut,
    ResolutionIn,
    TrialBalanceOut,
    UsageIn,
    UsageRatedOut,
    UsageRecordIn,
)
from billing.use_cases import accounts, billing_runs, corrections, dunning, invoices, plans, usage
from common.db import PageQuery, reading, rerun_lost_race, transaction, wake
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id

ANSWER_WITHIN_S = 5.0
"""A run that takes longer is left to the worker."""
USAGE_BODY = 8 * 1024 * 1024


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
            taxes=settings().taxes,
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
            run = dunning.advance_run(session, run_id=run_id, rules=settings().dunning)
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
        return reply(TrialBalanceOut.of(queries.trial_balance(session), settings().currency))


@routes.post("/admin/invoices/<id:invoice_id>/credit-notes")
@operation(
    "Issue a credit note",
    body=CreditNoteIn,
    returns={201: CreditNoteOut},
    roles=("admin",),
    idempotent=True,
    raises=(NotCreditable,),
)
def post_credit_note(invoice_id: str, body: CreditNoteIn) -> Response:
    """Off what is due; what is beyond becomes the account's credit."""
    with transaction() as session:
        note = corrections.credit_invoice(
            session,
            note_id=work_id(),
            invoice_id=invoice_id,
            amount=body.amount,
            reason=body.reason,
            created_by=identity().user_id,
        )
        return reply(CreditNoteOut.of(note), 201)


@routes.get("/admin/disputes")
@operation(
    "List disputes", query=DisputesQuery, returns={200: DisputeOut}, page=True, roles=("agent", "admin")
)
def list_disputes(query: DisputesQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_disputes(session, query, state=query.state), DisputeOut)


@routes.post("/admin/disputes/<id:dispute_id>/resolve")
@operation(
    "Accept or reject a dispute",
    body=ResolutionIn,
    returns={200: DisputeOut},
    roles=("admin",),
    raises=(DisputeResolved, NotCreditable),
)
def post_resolution(dispute_id: str, body: ResolutionIn) -> Response:
    """After a rejection an overdue invoice gets a new notice before any bar."""
    with transaction() as session:
        dispute = corrections.resolve_dispute(
            session,
            dispute_id=dispute_id,
            outcome=DisputeState(body.outcome),
            resolution=body.resolution,
            credit=body.credit,
            resolved_by=identity().user_id,
            rules=settings().dunning,
        )
        return reply(DisputeOut.of(dispute))


@routes.post("/admin/billing-runs")
@operation(
    "Bill a month",
    body=BillingRunIn,
    returns={201: BillingRunOut},
    roles=("admin",),
    raises=(PeriodNotBegun,),
)
def post_billing_run(body: BillingRunIn) -> Response:
    """Answers with the completed run, or with one still running that the workers go on with. Asked for again, it bills
    who has come since; nobody gets two invoices for a month."""
    answer_by = time.monotonic() + ANSWER_WITHIN_S
    with transaction() as session:
        run_id = billing_runs.start_run(
            session, run_id=work_id(), period=body.period, requested_by=identity().user_id
        ).id
    terms = settings().billing_terms
    while time.monotonic() < answer_by:
        with transaction() as session:
            if not billing_runs.advance_run(session, terms):
                break
    with transaction() as session:
        run = queries.get_billing_run(session, run_id)
        if run.state is RunState.RUNNING:
            wake(session, "billing")
        return reply(BillingRunOut.of(run, billing_runs.progress(session, run), settings().currency), 201)


@routes.get("/admin/billing-runs/<id:run_id>")
@operation("How far a billing run is", returns={200: BillingRunOut}, roles=("admin",))
def get_billing_run(run_id: str) -> Response:
    with reading() as session:
        run = queries.get_billing_run(session, run_id)
        return reply(BillingRunOut.of(run, billing_runs.progress(session, run), settings().currency))


@routes.get("/admin/billing-runs/<id:run_id>/failures")
@operation(
    "Whom a billing run could not bill yet",
    query=PageQuery,
    returns={200: BillingFailureOut},
    roles=("admin",),
    page=True,
)
def list_billing_failures(run_id: str, query: PageQuery) -> Response:
    """They are tried again with growing pauses, and at once when the month's run is asked for again."""
    with reading() as session:
        queries.get_billing_run(session, run_id)
        return reply_page(queries.list_billing_failures(session, run_id, query), BillingFailureOut)


@routes.post("/admin/usage-records")
@operation(
    "Take usage records", body=UsageIn, returns={200: UsageRatedOut}, roles=("admin",), max_body=USAGE_BODY
)
def post_usage_records(body: UsageIn) -> Response:
    """JSON or NDJSON. Each record counts once by its `record_id`: send a batch again as often as needed."""
    rated = usage.Rated()
    for start in range(0, len(body.records), usage.CHUNK):
        rated.add(_rate(body.records[start : start + usage.CHUNK]))
    return reply(
        UsageRatedOut(
            accepted=rated.accepted,
            duplicates=rated.duplicates,
            unrated=rated.unrated,
            unknown_users=rated.unknown,
            implausible=rated.implausible,
        )
    )


@rerun_lost_race
def _rate(records: Sequence[UsageRecordIn]) -> usage.Rated:
    with transaction() as session:
        return usage.rate_records(session, records)


@routes.post("/admin/plans")
@operation("Offer a plan", body=PlanIn, returns={201: PlanOut}, roles=("admin",), raises=(PlanCodeTaken,))
def post_plan(body: PlanIn) -> Response:
    """Its prices never change: offer another one instead, and withdraw this."""
    with transaction() as session:
        plan = plans.create_plan(session, body, plan_id=work_id(), created_by=identity().user_id)
        return reply(PlanOut.of(plan), 201)


@routes.post("/admin/plans/<id:plan_id>/withdraw")
@operation("Offer a plan no longer", returns={200: PlanOut}, roles=("admin",))
def post_plan_withdrawal(plan_id: str) -> Response:
    """Who has it keeps it."""
    with transaction() as session:
        return reply(PlanOut.of(plans.withdraw_plan(session, plan_id=plan_id)))


@routes.patch("/admin/accounts/<id:user_id>")
@operation(
    "Make a user's account prepaid or postpaid",
    body=AccountIn,
    returns={200: AccountOut},
    roles=("admin",),
    raises=(AccountInUse,),
)
def patch_account(user_id: str, body: AccountIn) -> Response:
    with transaction() as session:
        return reply(AccountOut.of(accounts.set_kind(session, user_id=user_id, kind=body.kind)))
