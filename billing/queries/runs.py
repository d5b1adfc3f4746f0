"""Runs, and whom a dunning run concerns."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, false, or_, select, true
from sqlalchemy.orm import Session

from billing.models import (
    OPEN_STATES,
    Account,
    AccountStatus,
    BillingRun,
    BillingSlice,
    DunningRun,
    Invoice,
    InvoiceState,
)
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound


def get_dunning_run(session: Session, run_id: str) -> DunningRun:
    """Raises NotFound."""
    run = session.get(DunningRun, run_id)
    if run is None:
        raise NotFound()
    return run


def to_be_reminded_of(as_of: date, before: timedelta) -> ColumnElement[bool]:
    """Of an open invoice: its day of reminder has come, and the customer has not been reminded yet."""
    return and_(
        Invoice.state != InvoiceState.OVERDUE,
        Invoice.reminded_on.is_(None),
        Invoice.due_on >= as_of,
        Invoice.due_on <= as_of + before,
        Invoice.issued_on < as_of,
        true() if before else false(),
    )


def becomes_overdue(as_of: date) -> ColumnElement[bool]:
    """Of an open invoice: the day on which it was to be paid is over."""
    return and_(Invoice.state != InvoiceState.OVERDUE, Invoice.due_on < as_of)


def accounts_to_dun(
    session: Session,
    *,
    as_of: date,
    soft_bar_after: timedelta,
    remind_before: timedelta,
    after: str,
    limit: int,
) -> Sequence[str]:
    """Ids of accounts with an invoice of which the customer is to be reminded, that has become overdue, or that may
    cost them the service; in order, above `after`. Disputed invoices wait.

    The open states are literals so that the partial index over open invoices serves this.
    """
    is_open = Invoice.state.in_(
        bindparam("open", [*OPEN_STATES], type_=Invoice.state.type, expanding=True, literal_execute=True)
    )
    may_be_barred = and_(
        Invoice.state == InvoiceState.OVERDUE,
        Invoice.due_on <= as_of - soft_bar_after,
        Account.status != AccountStatus.HARD_BARRED,
    )
    statement = (
        select(Invoice.account_id)
        .join(Account, Account.id == Invoice.account_id)
        .where(
            is_open,
            Invoice.disputed.is_(False),
            Invoice.account_id > after,
            or_(becomes_overdue(as_of), may_be_barred, to_be_reminded_of(as_of, remind_before)),
        )
        .distinct()
        .order_by(Invoice.account_id)
        .limit(limit)
    )
    return session.scalars(statement).all()


def get_billing_run(session: Session, run_id: str) -> BillingRun:
    """Raises NotFound."""
    run = session.get(BillingRun, run_id)
    if run is None:
        raise NotFound()
    return run


def list_billing_failures(session: Session, run_id: str, query: PageQuery) -> Page[Row[Any]]:
    """The accounts that a run could not bill yet (`schemas.BillingFailureOut`)."""
    wanted = (
        select(
            BillingSlice.id,
            Account.number.label("account_number"),
            Account.user_id,
            BillingSlice.reason,
            BillingSlice.failures,
            BillingSlice.retry_at,
        )
        .join(Account, Account.id == BillingSlice.first)
        .where(BillingSlice.run_id == run_id, BillingSlice.retry_at.is_not(None))
    )
    return fetch_page(session, wanted, BillingSlice.id, query, scalars=False)
