"""Billing runs: every account gets at most one invoice for a month, whoever is killed and however many help.

What is billed is what is due by now for all months up to the run's, less what has been billed of it before. So a
month may be billed before it is over, late usage and changes of plan come onto the next invoice, and nothing is billed
twice.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import exists, func, select, union
from sqlalchemy.orm import Session

from billing.config import BillingTerms, Tax
from billing.errors import PeriodNotBegun
from billing.models import (
    Account,
    BilledFee,
    BillingRun,
    BillingSlice,
    Invoice,
    InvoiceState,
    Plan,
    RunState,
    Subscription,
    SubscriptionTerm,
    UsageTotal,
)
from billing.models.tariffs import RATES
from billing.use_cases.corrections import credit_invoice, creditable
from billing.use_cases.invoices import Line, draft_invoice, issue_drafts
from billing.use_cases.periods import days_held, days_in, from_to, period_of
from billing.use_cases.taxes import tax_lines
from common import clock, ids
from common.money import Money

SLICE = 100
"""Accounts per transaction."""
PLANNED_AT_ONCE = 20
"""Slices per transaction of planning."""
MEASURES = {"data_mb": "MB", "voice_minutes": "min", "voice_s": "s", "sms": "SMS"}
"""How an invoice calls what a kind of usage is measured in."""


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
        Invoice.account_id == Account.id, Invoice.period == run.period, Invoice.run_id.is_not(None)
    )
    accounts = session.scalars(
        select(Account).where(Account.id.in_(account_ids), ~billed).order_by(Account.id).with_for_update()
    ).all()
    due = _Due(session, accounts, run.period)
    due_on = clock.today() + timedelta(days=terms.payment_days)
    drafts = []
    for account in accounts:
        lines = due.lines_of(account)
        net = sum(line.amount_minor for line in lines)
        if net > 0:
            drafts.append(
                (
                    account,
                    draft_invoice(
                        account,
                        invoice_id=ids.new_id(),
                        lines=lines,
                        due_on=due_on,
                        period=run.period,
                        taxes=terms.taxes,
                        run_id=run.id,
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


class _Due:
    """What some locked accounts owe up to a month and have not been billed."""

    def __init__(self, session: Session, accounts: Sequence[Account], period: str) -> None:
        self._session, self._period = session, period
        account_ids = [account.id for account in accounts]
        self._subscriptions = _by_account(
            session.scalars(
                select(Subscription)
                .where(Subscription.account_id.in_(account_ids), Subscription.settled.is_(False))
                .order_by(Subscription.id)
                .with_for_update()
            )
        )
        self._terms: dict[str, list[SubscriptionTerm]] = {}
        terms = select(SubscriptionTerm).where(SubscriptionTerm.account_id.in_(account_ids))
        for term in session.scalars(terms.order_by(SubscriptionTerm.starts_at)):
            self._terms.setdefault(term.subscription_id, []).append(term)
        held = [each.id for some in self._subscriptions.values() for each in some]
        fees = select(BilledFee).where(BilledFee.subscription_id.in_(held))
        self._fees = {(f.subscription_id, f.plan_id, f.period): f for f in session.scalars(fees)}
        self._usage = _by_account(
            session.scalars(
                select(UsageTotal)
                .where(
                    UsageTotal.account_id.in_(account_ids),
                    UsageTotal.amount_minor != UsageTotal.billed_minor,
                    UsageTotal.period <= period,
                )
                .order_by(UsageTotal.period, UsageTotal.zone, UsageTotal.kind)
            )
        )
        self._plans = {plan.id: plan for plan in session.scalars(select(Plan))}
        self._names = {
            (plan.id, rate.kind, rate.zone): rate.name
            for plan in self._plans.values()
            for rate in RATES.validate_json(plan.rates)
        }

    def lines_of(self, account: Account) -> list[Line]:
        """The lines of its next invoice; they count as billed with `write`."""
        lines = [line for each in self._subscriptions.get(account.id, ()) for line in self._fees_of(each)]
        for total in self._usage.get(account.id, ()):
            name = self._names[total.plan_id, total.kind, total.zone]
            amount = total.amount_minor - total.billed_minor
            text = f"{name} · {total.period} · {total.quantity:,} {MEASURES.get(total.kind, total.kind)}"
            lines.append(Line(text, 1, account.money(amount)))
            total.billed_minor = total.amount_minor
        return lines

    def write(self) -> None:
        self._session.flush()

    def _fees_of(self, subscription: Subscription) -> Iterable[Line]:
        terms = self._terms[subscription.id]
        first = subscription.billed_through or period_of(subscription.started_at)
        for period in from_to(first, self._period):
            plan_ids = {term.plan_id: None for term in terms}
            plan_ids |= {key[1]: None for key in self._fees if key[0] == subscription.id and key[2] == period}
            for plan_id in plan_ids:
                line = self._fee(subscription, self._plans[plan_id], period, terms)
                if line is not None:
                    yield line
        if subscription.billed_through is None or subscription.billed_through < self._period:
            subscription.billed_through = self._period
        if subscription.ends_at is not None and period_of(subscription.ends_at) <= self._period:
            subscription.settled = subscription.ends_at <= clock.now()

    def _fee(
        self, subscription: Subscription, plan: Plan, period: str, terms: Sequence[SubscriptionTerm]
    ) -> Line | None:
        """The difference between a plan's fee for the days held in a month, half up, and what was billed of it."""
        days = sum(
            days_held(term.starts_at, term.ends_at, period) for term in terms if term.plan_id == plan.id
        )
        month = days_in(period)
        due = (2 * plan.price_minor * days + month) // (2 * month)
        key = (subscription.id, plan.id, period)
        fee = self._fees.get(key)
        amount = due - (fee.billed_minor if fee is not None else 0)
        if amount == 0:
            return None
        if fee is None:
            fee = self._fees[key] = BilledFee(subscription_id=key[0], plan_id=key[1], period=key[2])
            self._session.add(fee)
        fee.billed_minor = due
        share = "" if days == month else f" · {days}/{month}"
        return Line(
            f"{plan.name} · {period}{share}", 1, plan.price.model_copy(update={"amount_minor": amount})
        )


def _by_account(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.account_id, []).append(row)
    return found
