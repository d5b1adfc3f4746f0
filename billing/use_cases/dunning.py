"""Dunning: reminder, overdue notice, soft bar, hard bar; never a bar without a notice some days before.

A run passes over the accounts in small transactions and goes on where it stopped, maybe days later: it says whom to
look at, and what they get counts from the day on which they get it. Doing an account twice on one day changes nothing.
"""

import logging
from collections.abc import Sequence
from datetime import date

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from billing import events, queries
from billing.config import DunningRules
from billing.models import OPEN_STATES, Account, AccountStatus, DunningRun, Invoice, RunState
from billing.use_cases.accounts import lock_account
from billing.use_cases.invoices import covered_by_credit, overdue_invoices
from common import clock

log = logging.getLogger(__name__)

BATCH = 20
"""Accounts per transaction: keeps the database's writer lock for milliseconds."""


def start_run(session: Session, *, run_id: str, requested_by: str) -> DunningRun:
    """A run as of today; the one of this id when it is there already."""
    run = session.get(DunningRun, run_id)
    if run is None:
        run = DunningRun(id=run_id, as_of=clock.today(), requested_by=requested_by, **_NOTHING_DONE)
        session.add(run)
        session.flush()
    return run


def advance_run(session: Session, *, run_id: str, rules: DunningRules) -> DunningRun:
    """Do the next accounts of a run; it is completed after the last. Safe to repeat."""
    run = session.get_one(DunningRun, run_id, with_for_update=True)
    if run.state is RunState.COMPLETED:
        return run
    account_ids = queries.accounts_to_dun(
        session,
        as_of=run.as_of,
        soft_bar_after=rules.soft_bar_after,
        remind_before=rules.remind_before,
        after=run.cursor,
        limit=BATCH,
    )
    for account_id in account_ids:
        if not _dunned(session, account_id, run, rules):
            run.failed += 1
    run.accounts += len(account_ids)
    if len(account_ids) < BATCH:
        run.complete()
    else:
        run.cursor = account_ids[-1]
    return run


def advance_due_run(session: Session, rules: DunningRules) -> bool:
    """Work on a run that is not completed, or on the day's own, begun when there is none; whether there is more."""
    going = select(DunningRun.id).where(DunningRun.state == RunState.RUNNING)
    run_id = session.scalar(going.order_by(DunningRun.id).limit(1))
    if run_id is None:
        today = clock.today()
        if session.scalar(select(DunningRun.id).where(DunningRun.automatic_for == today)) is not None:
            return False
        run = DunningRun(as_of=today, automatic_for=today, **_NOTHING_DONE)
        session.add(run)
        session.flush()
        run_id = run.id
    return advance_run(session, run_id=run_id, rules=rules).state is RunState.RUNNING


_NOTHING_DONE = {
    "state": RunState.RUNNING,
    "cursor": "",
    "accounts": 0,
    "failed": 0,
    "reminders": 0,
    "invoices_overdue": 0,
    "soft_barred": 0,
    "hard_barred": 0,
}


def _dunned(session: Session, account_id: str, run: DunningRun, rules: DunningRules) -> bool:
    """Dun an account; False, and nothing has happened to it, when that fails: the others must not wait for it."""
    try:
        with session.begin_nested():
            _dun(session, lock_account(session, account_id), run, rules)
    except OperationalError:  # the database's trouble, not the account's
        raise
    except Exception:
        log.exception("account %s cannot be dunned", account_id)
        return False
    return True


def _dun(session: Session, account: Account, run: DunningRun, rules: DunningRules) -> None:
    today = clock.today()
    for invoice in _open_where(session, account, queries.to_be_reminded_of(today, rules.remind_before)):
        invoice.reminded_on = today
        session.add(events.invoice_reminder(invoice))
        run.reminders += 1
    for invoice in _open_where(session, account, queries.becomes_overdue(today)):
        give_notice(session, invoice, rules)
        run.invoices_overdue += 1
    overdue = [invoice for invoice in overdue_invoices(session, account) if not invoice.disputed]
    _renew_notices(session, account, overdue, rules)
    level = _level_due(account, overdue, today, rules)
    if level is None:
        return
    account.bar(level, today)
    session.add(events.account_barred(account, "overdue"))
    if level is AccountStatus.SOFT_BARRED:
        run.soft_barred += 1
    else:
        run.hard_barred += 1


def give_notice(session: Session, invoice: Invoice, rules: DunningRules) -> None:
    """Tell the customer today that it is overdue, and from which day on the service may be barred for it. A change of
    the rules makes that no sooner."""
    today = clock.today()
    invoice.fall_overdue(today, bar_from=max(invoice.due_on + rules.soft_bar_after, today + rules.notice))
    session.add(events.invoice_overdue(invoice))


def _renew_notices(
    session: Session, account: Account, overdue: Sequence[Invoice], rules: DunningRules
) -> None:
    """A notice is void once the customer has as much in credit: when that has gone elsewhere, there is a new one."""
    covered = covered_by_credit(account, overdue)
    for invoice in overdue:
        if covered:
            invoice.forget_notice()
        elif invoice.overdue_on is None:
            give_notice(session, invoice, rules)


def _open_where(session: Session, account: Account, condition: ColumnElement[bool]) -> Sequence[Invoice]:
    """The account's unpaid invoices that are not disputed and for which something holds."""
    found = select(Invoice).where(
        Invoice.account_id == account.id,
        Invoice.state.in_(OPEN_STATES),
        Invoice.disputed.is_(False),
        condition,
    )
    return session.scalars(found.order_by(Invoice.id)).all()


def _level_due(
    account: Account, overdue: Sequence[Invoice], today: date, rules: DunningRules
) -> AccountStatus | None:
    """The bar that has become due, of which the customer had notice long enough; None for none."""
    noticed = [
        invoice.due_on
        for invoice in overdue
        if invoice.overdue_on is not None
        and invoice.overdue_on + rules.notice <= today
        and (invoice.bar_from is None or invoice.bar_from <= today)
    ]
    if not noticed:
        return None
    late = today - min(noticed)
    if account.status is AccountStatus.ACTIVE and late >= rules.soft_bar_after:
        return AccountStatus.SOFT_BARRED
    if (
        account.status is AccountStatus.SOFT_BARRED
        and late >= rules.hard_bar_after
        and account.barred_on is not None
        and account.barred_on + rules.notice <= today
    ):
        return AccountStatus.HARD_BARRED
    return None
