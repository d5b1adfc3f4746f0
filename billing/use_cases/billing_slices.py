"""The slices of a billing run: some accounts that are billed in one transaction.

An account that cannot be billed does not keep the others from their invoices: it becomes a slice of its own, shown with
the run, and is tried again with growing pauses.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, select, union
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from billing.config import BillingTerms
from billing.models import (
    Account,
    BillingRun,
    BillingSlice,
    Invoice,
    InvoiceState,
    Subscription,
    UsageTotal,
)
from billing.use_cases.billed import BilledItem, keep
from billing.use_cases.corrections import credit_net
from billing.use_cases.due import Due
from billing.use_cases.invoices import Line, draft_invoice, issue_drafts
from common import clock, ids

log = logging.getLogger(__name__)


def candidates(period: str, *, after: str, last: str | None = None) -> Any:
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


def bill_slice(session: Session, run: BillingRun, mine: BillingSlice, terms: BillingTerms) -> None:
    """Bill the accounts of a locked slice; those that cannot be billed are set aside."""
    accounts = _lock_accounts(session, run, mine)
    invoices, failed = _bill_whom_it_can(session, run, accounts, terms)
    for account, reason in failed:
        if mine.retry_at is not None:
            mine.fail(reason)
            return
        alone = BillingSlice(
            run_id=run.id,
            first=account.id,
            last=account.id,
            currency=account.currency,
            accounts=0,
            invoices=0,
            total_minor=0,
            failures=0,
        )
        alone.fail(reason)
        session.add(alone)
    mine.complete(
        accounts=len(accounts) - len(failed),
        invoices=len(invoices),
        total_minor=sum(invoice.total_minor for invoice in invoices),
    )


def retry_slice(session: Session, terms: BillingTerms) -> bool:
    """Bill an account again that was set aside and whose time has come; whether there was one."""
    due = select(BillingSlice).where(BillingSlice.retry_at <= clock.now()).order_by(BillingSlice.retry_at)
    mine = session.scalar(due.limit(1).with_for_update(skip_locked=True))
    if mine is None:
        return False
    bill_slice(session, session.get_one(BillingRun, mine.run_id), mine, terms)
    return True


def _lock_accounts(session: Session, run: BillingRun, mine: BillingSlice) -> Sequence[Account]:
    """The accounts of a slice that have no invoice of this run yet."""
    account_ids = candidates(run.period, after=mine.first, last=mine.last)
    billed = exists().where(
        Invoice.account_id == Account.id,
        Invoice.period == run.period,
        Invoice.run_id.is_not(None),
        Invoice.state != InvoiceState.VOID,
    )
    wanted = select(Account).where(Account.id.in_(account_ids), ~billed)
    if mine.currency is not None:
        wanted = wanted.where(Account.currency == mine.currency)
    return session.scalars(wanted.order_by(Account.id).with_for_update()).all()


def _bill_whom_it_can(
    session: Session, run: BillingRun, accounts: Sequence[Account], terms: BillingTerms
) -> tuple[list[Invoice], list[tuple[Account, str]]]:
    """The invoices, and who could not be billed and why: found by halves, each behind a savepoint."""
    try:
        with session.begin_nested():
            return _bill(session, run, accounts, terms), []
    except OperationalError:  # the database's trouble, not the account's: the slice is done again
        raise
    except Exception as error:
        if len(accounts) == 1:
            log.exception("account %s cannot be billed for %s", accounts[0].number, run.period)
            return [], [(accounts[0], type(error).__name__)]
    half = len(accounts) // 2
    first, first_failed = _bill_whom_it_can(session, run, accounts[:half], terms)
    second, second_failed = _bill_whom_it_can(session, run, accounts[half:], terms)
    return first + second, first_failed + second_failed


def _bill(
    session: Session, run: BillingRun, accounts: Sequence[Account], terms: BillingTerms
) -> list[Invoice]:
    """What counters give numbers for comes last: others wait for them."""
    due = Due(session, accounts, run.period)
    drafts, less = [], []
    for account in accounts:
        lines = due.lines_of(account)
        more = [(line, item) for line, item in lines if item.amount_minor > 0]
        less += [(account, item) for _, item in lines if item.amount_minor < 0]
        if more:
            drafts.append((account, _draft(account, run, more, terms)))
    due.write()
    for account, item in less:
        _give_back(session, account, item)
    if drafts:
        issue_drafts(session, drafts)
    return [invoice for _, invoice in drafts]


def _draft(
    account: Account, run: BillingRun, billed: Sequence[tuple[Line, BilledItem]], terms: BillingTerms
) -> Invoice:
    return draft_invoice(
        account,
        invoice_id=ids.new_id(),
        lines=[line for line, _ in billed],
        due_on=clock.today() + timedelta(days=terms.payment_days),
        period=run.period,
        taxes=terms.taxes,
        run_id=run.id,
        billed_items=keep([item for _, item in billed]),
    )


def _give_back(session: Session, account: Account, item: BilledItem) -> None:
    """More had been billed of a month than is due: credit notes on the invoices for it or later, the newest first, with
    the taxes that each had. What was waived on those by credit notes before does not come back a second time."""
    left = -item.amount_minor
    billed = select(Invoice.id).where(
        Invoice.account_id == account.id,
        Invoice.run_id.is_not(None),
        Invoice.period >= item.period,
        Invoice.state != InvoiceState.VOID,
    )
    for invoice_id in session.scalars(billed.order_by(Invoice.id.desc())).all():
        left -= credit_net(
            session, invoice_id=invoice_id, net_minor=left, reason="subscription changed or cancelled"
        )
        if left == 0:
            return
