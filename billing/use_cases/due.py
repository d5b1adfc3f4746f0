"""What accounts owe by now and have not been billed: fees by the days held, and usage."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.models import Account, BilledFee, Plan, Subscription, SubscriptionTerm, UsageTotal
from billing.models.tariffs import RATES
from billing.use_cases.billed import BilledItem
from billing.use_cases.invoices import Line
from billing.use_cases.periods import day_of, days_held, days_in, from_to, period_of
from common import clock

MEASURES = {"data_mb": "MB", "voice_minutes": "min", "voice_s": "s", "sms": "SMS"}
"""How an invoice calls what a kind of usage is measured in."""


class Due:
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

    def lines_of(self, account: Account) -> list[tuple[Line, BilledItem]]:
        """What is due of it, each line with what it bills (below zero: was billed and is not due); they count as billed
        with `write`."""
        found = [line for each in self._subscriptions.get(account.id, ()) for line in self._fees_of(each)]
        for total in self._usage.get(account.id, ()):
            name = self._names[total.plan_id, total.kind, total.zone]
            amount = total.amount_minor - total.billed_minor
            text = f"{name} · {total.period} · {total.quantity:,} {MEASURES.get(total.kind, total.kind)}"
            item = BilledItem(total.plan_id, total.period, amount, kind=total.kind, zone=total.zone)
            found.append((Line(text, 1, account.money(amount)), item))
            total.billed_minor = total.amount_minor
        return found

    def write(self) -> None:
        self._session.flush()

    def _fees_of(self, subscription: Subscription) -> Iterable[tuple[Line, BilledItem]]:
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
    ) -> tuple[Line, BilledItem] | None:
        """The difference between a plan's fee for the days held in a month, half up, and what was billed of it."""
        days, month = _days_of(subscription, plan.id, period, terms), days_in(period)
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
        price = plan.price.model_copy(update={"amount_minor": amount})
        item = BilledItem(plan.id, period, amount, subscription_id=subscription.id)
        return Line(f"{plan.name} · {period}{share}", 1, price), item


def _days_of(subscription: Subscription, plan_id: str, period: str, terms: Sequence[SubscriptionTerm]) -> int:
    """How many days of a month a plan was held. Who ends a subscription on the day of its beginning has held its last
    plan for that day: else what it includes would be free."""
    began, ended = subscription.started_at, subscription.ends_at
    if ended is not None and day_of(ended) == day_of(began):
        return int(terms[-1].plan_id == plan_id and period_of(began) == period)
    return sum(days_held(term.starts_at, term.ends_at, period) for term in terms if term.plan_id == plan_id)


def _by_account(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.account_id, []).append(row)
    return found
