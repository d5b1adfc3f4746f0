"""Billing runs: every account gets at most one invoice for a month, whoever is killed and however many help.

What is billed is what is due by now for all months up to the run's, less what has been billed of it before. So a
month may be billed before it is over, late usage and changes of plan come onto the next invoice, and nothing is billed
twice.
"""

from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from billing.config import BillingTerms
from billing.errors import PeriodNotBegun
from billing.models import Account, BillingRun, BillingSlice, RunState
from billing.use_cases.billing_slices import bill_slice, candidates, retry_slice
from billing.use_cases.periods import period_of
from common import clock

SLICE = 100
"""Accounts per transaction."""
PLANNED_AT_ONCE = 20
"""Slices per transaction of planning."""


class Progress(NamedTuple):
    """Accounts done, accounts that could not be billed yet, invoices, and their sums by currency in minor units
    (None: slices from before migration 0007)."""

    accounts: int
    failed: int
    invoices: int
    totals: dict[str | None, int]


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
        failed = delete(BillingSlice).where(BillingSlice.run_id == run.id, BillingSlice.retry_at.is_not(None))
        session.execute(failed, execution_options={"synchronize_session": False})  # they are planned anew
        run.start_again()
    return run


def advance_run(session: Session, terms: BillingTerms) -> bool:
    """Do the next step of the oldest run that is not completed, or else bill an account again that could not be billed;
    whether there is more to do for the caller.

    Any number may call it at once: each takes another slice.
    """
    run = session.scalar(
        select(BillingRun).where(BillingRun.state == RunState.RUNNING).order_by(BillingRun.id).limit(1)
    )
    if run is None:
        return retry_slice(session, terms)
    open_slices = select(BillingSlice).where(
        BillingSlice.run_id == run.id, BillingSlice.done_at.is_(None), BillingSlice.retry_at.is_(None)
    )
    mine = session.scalar(open_slices.order_by(BillingSlice.id).limit(1).with_for_update(skip_locked=True))
    if mine is not None:
        bill_slice(session, run, mine, terms)
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


def progress(session: Session, run: BillingRun) -> Progress:
    """What has been done so far."""
    sums = select(
        BillingSlice.currency,
        func.sum(BillingSlice.accounts),
        func.count(BillingSlice.retry_at),
        func.sum(BillingSlice.invoices),
        func.sum(BillingSlice.total_minor),
    ).where(BillingSlice.run_id == run.id)
    rows = session.execute(sums.group_by(BillingSlice.currency).order_by(BillingSlice.currency)).all()
    return Progress(
        accounts=sum(int(accounts) for _, accounts, _, _, _ in rows),
        failed=sum(failed for _, _, failed, _, _ in rows),
        invoices=sum(int(invoices) for _, _, _, invoices, _ in rows),
        totals={currency: int(total_minor) for currency, _, _, _, total_minor in rows},
    )


def _plan(session: Session, run: BillingRun) -> None:
    """Cut the next accounts into slices, each of one currency."""
    next_ones = candidates(run.period, after=run.cursor).limit(SLICE * PLANNED_AT_ONCE).subquery()
    found = session.execute(
        select(Account.id, Account.currency)
        .join(next_ones, next_ones.c.account_id == Account.id)
        .order_by(Account.id)
    ).all()
    by_currency: dict[str, list[str]] = {}
    for account_id, currency in found:
        by_currency.setdefault(currency, []).append(account_id)
    for currency, account_ids in by_currency.items():
        for start in range(0, len(account_ids), SLICE):
            part = account_ids[start : start + SLICE]
            sums = {"accounts": 0, "invoices": 0, "total_minor": 0}
            session.add(BillingSlice(run_id=run.id, first=part[0], last=part[-1], currency=currency, **sums))
    run.planned = len(found) < SLICE * PLANNED_AT_ONCE
    if found:
        run.cursor = found[-1].id
