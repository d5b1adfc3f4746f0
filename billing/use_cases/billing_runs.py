"""Billing runs: every account gets at most one invoice for a month, whoever is killed and however many help.

What is billed is what is due by now for all months up to the run's, less what has been billed of it before. So a
month may be billed before it is over, late usage and changes of plan come onto the next invoice, and nothing is billed
twice.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, select, union
from sqlalchemy.orm import Session

from billing.config import BillingTerms, Tax
from billing.errors import PeriodNotBegun
from billing.models import (
    Account,
    BillingRun,
    BillingSlice,
    Invoice,
    InvoiceState,
    RunState,
    Subscription,
    UsageTotal,
)
from billing.use_cases.billed import keep
from billing.use_cases.corrections import credit_invoice, creditable
from billing.use_cases.due import Due
from billing.use_cases.invoices import draft_invoice, issue_drafts
from billing.use_cases.periods import period_of
from billing.use_cases.taxes import tax_lines
from common import clock, ids
from common.money import Money

SLICE = 100
"""Accounts per transaction."""
PLANNED_AT_ONCE = 20
"""Slices per transaction of planning."""


def start_run(session: Session, *, run_id: str, period: str, requested_by: str) -> BillingRun:
    """The run of a month; a completed one looks again for who has not been billed. Raises PeriodNotBegun."""
    if period > period_of(clock.now()):
        raise PeriodNotBegun(errors=[{"field": "period", "message": "has not begun"}])
    run = session.scalar(select(BillingRun).where(BillingRun.period == period).with_for_update())
    if run is None:
        run = BillingRun(
            id=run_id,
            period=period,
            state=RunState.RUNNING,
            requested_by=requested_by,
            cursor="",
            planned=False,
        )
        session.add(run)
        session.flush()
    elif run.state is RunState.COMPLETED:
        run.start_again()
    return run


def advance_run(session: Session, terms: BillingTerms) -> bool:
    """Do the next step of the oldest run that is not completed; whether there is more to do for the caller.

    Any number may call it at once: each takes another slice.
    """
    run = session.scalar(
        select(BillingRun).where(BillingRun.state == RunState.RUNNING).order_by(BillingRun.id).limit(1)
    )
    if run is None:
        return False
    open_slices = select(BillingSlice).where(BillingSlice.run_id == run.id, BillingSlice.done_at.is_(None))
    mine = session.scalar(open_slices.order_by(BillingSlice.id).limit(1).with_for_update(skip_locked=True))
    if mine is not None:
        _bill_slice(session, run, mine, terms)
        return True
    session.refresh(run, with_for_update=True)
    if not run.planned:
        _plan(session, run)
        return True
    if run.state is RunState.COMPLETED:
        return True
    if session.scalar(open_slices.limit(1)) is not None:
        return False  # others are at the last slices, and look again after them
    run.complete()
    return True


def progress(session: Session, run: BillingRun) -> tuple[int, int, int]:
    """Accounts, invoices and their total in minor units, so far."""
    sums = select(
        func.sum(BillingSlice.accounts), func.sum(BillingSlice.invoices), func.sum(BillingSlice.total_minor)
    ).where(BillingSlice.run_id == run.id)
    accounts, invoices, total = session.execute(sums).one()
    return int(accounts or 0), int(invoices or 0), int(total or 0)


def _plan(session: Session, run: BillingRun) -> None:
    """Cut the next accounts into slices."""
    candidates = _candidates(run.period, after=run.cursor).limit(SLICE * PLANNED_AT_ONCE)
    account_ids = session.scalars(candidates).all()
    for start in range(0, len(account_ids), SLICE):
        part = account_ids[start : start + SLICE]
        session.add(
            BillingSlice(run_id=run.id, first=part[0], last=part[-1], accounts=0, invoices=0, total_minor=0)
        )
    run.planned = len(account_ids) < SLICE * PLANNED_AT_ONCE
    if account_ids:
        run.cursor = account_ids[-1]


def _candidates(period: str, *, after: str, last: str | None = None) -> Any:
    """Ids of accounts with something that may have to be billed, in order."""
    subscribed = select(Subscription.account_id).where(Subscription.settled.is_(False))
    used = select(UsageTotal.account_id).where(
        UsageTotal.amount_minor != UsageTotal.billed_minor, UsageTotal.period <= period
    )
    both = []
    for part, column in ((subscribed, Subscription.account_id), (used, UsageTotal.account_id)):
        bounded = part.where(column > after) if last is None else part.where(column >= after, column <= last)
        both.append(bounded)
    ids_of = union(*both).subquery()
    return select(ids_of.c.account_id).order_by(ids_of.c.account_id)


def _bill_slice(session: Session, run: BillingRun, mine: BillingSlice, terms: BillingTerms) -> None:
    account_ids = _candidates(run.period, after=mine.first, last=mine.last)
    billed = exists().where(
        Invoice.account_id == Account.id,
        Invoice.period == run.period,
        Invoice.run_id.is_not(None),
        Invoice.state != InvoiceState.VOID,
    )
    accounts = session.scalars(
        select(Account).where(Account.id.in_(account_ids), ~billed).order_by(Account.id).with_for_update()
    ).all()
    due = Due(session, accounts, run.period)
    due_on = clock.today() + timedelta(days=terms.payment_days)
    drafts = []
    for account in accounts:
        billed_now = due.lines_of(account)
        net = sum(line.amount_minor for line, _ in billed_now)
        if net > 0:
            drafts.append(
                (
                    account,
                    draft_invoice(
                        account,
                        invoice_id=ids.new_id(),
                        lines=[line for line, _ in billed_now],
                        due_on=due_on,
                        period=run.period,
                        taxes=terms.taxes,
                        run_id=run.id,
                        billed_items=keep([item for _, item in billed_now]),
                    ),
                )
            )
        elif net < 0:
            _give_back(session, account, -net, terms.taxes)
    if drafts:
        issue_drafts(session, drafts)
    due.write()
    mine.accounts, mine.invoices = len(accounts), len(drafts)
    mine.total_minor = sum(invoice.total_minor for _, invoice in drafts)
    mine.done_at = clock.now()


def _give_back(session: Session, account: Account, net_minor: int, taxes: Sequence[Tax]) -> None:
    """More had been billed than is due: credit notes on the invoices that did, the newest first."""
    taxed = tax_lines(net_minor, account.currency, taxes)
    left = net_minor + sum(line["amount"]["amount_minor"] for line in taxed)
    billed = select(Invoice).where(
        Invoice.account_id == account.id, Invoice.run_id.is_not(None), Invoice.state != InvoiceState.VOID
    )
    for invoice in session.scalars(billed.order_by(Invoice.id.desc())):
        amount = min(left, creditable(session, invoice))
        if amount > 0:
            credit_invoice(
                session,
                note_id=ids.new_id(),
                invoice_id=invoice.id,
                amount=Money(amount_minor=amount, currency=account.currency),
                reason="subscription changed or cancelled",
                created_by=None,
            )
            left -= amount
        if left == 0:
            return
