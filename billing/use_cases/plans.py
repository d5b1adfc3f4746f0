"""Plans and subscriptions: who holds which plan from when to when. What that costs is for the billing run to say."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.errors import (
    AccountIsPrepaid,
    AlreadySubscribed,
    PlanCodeTaken,
    PlanNotOffered,
    SamePlan,
    SubscriptionEnded,
)
from billing.models import Account, AccountKind, Plan, Subscription, SubscriptionTerm
from billing.models.tariffs import RATES
from billing.schemas import PlanIn
from billing.use_cases.accounts import deactivate_account, lock_account, lock_account_of
from billing.use_cases.periods import after, first_day, period_of, start_of
from common import clock, ids
from common.errors import NotFound, ValidationFailed


def create_plan(session: Session, wish: PlanIn, *, plan_id: str, created_by: str) -> Plan:
    """A new plan; its prices stay as they are. Raises PlanCodeTaken."""
    plan = _plan(wish, plan_id, created_by)
    try:
        with session.begin_nested():
            session.add(plan)
    except IntegrityError:
        raise PlanCodeTaken() from None
    return plan


def seed_plans(session: Session, wishes: Iterable[PlanIn]) -> list[str]:
    """Offer the plans whose code is not known yet; returns their codes. What is there stays as it is."""
    known = set(session.scalars(select(Plan.code)))
    added = [_plan(wish, ids.new_id(), None) for wish in wishes if wish.code not in known]
    session.add_all(added)
    return [plan.code for plan in added]


def withdraw_plan(session: Session, *, plan_id: str) -> Plan:
    """Offer a plan to nobody new; who has it keeps it. Safe to repeat. Raises NotFound."""
    plan = session.get(Plan, plan_id, with_for_update=True)
    if plan is None:
        raise NotFound()
    plan.offered = False
    return plan


def subscribe(session: Session, *, subscription_id: str, user_id: str, plan_id: str) -> Subscription:
    """Begin a subscription now. Raises NotFound, PlanNotOffered, AccountIsPrepaid, AlreadySubscribed."""
    account = lock_account_of(session, user_id)
    plan = _offered(session, account, plan_id)
    if account.kind is AccountKind.PREPAID:
        raise AccountIsPrepaid()
    now = clock.now()
    others = select(Subscription).where(
        Subscription.account_id == account.id,
        Subscription.category == plan.category,
        Subscription.settled.is_(False),
    )
    if any(other.active_at(now) for other in session.scalars(others)):
        raise AlreadySubscribed()
    subscription = Subscription(
        id=subscription_id,
        account_id=account.id,
        user_id=user_id,
        category=plan.category,
        started_at=now,
        settled=False,
    )
    session.add(subscription)
    session.flush()
    session.add(_term(subscription, plan.id, now))
    session.flush()
    return subscription


def change_plan(
    session: Session, *, subscription_id: str, user_id: str, plan_id: str, at_period_end: bool
) -> Subscription:
    """Hold another plan of the same category from now or from the next month on; replaces a change not yet in force,
    and the plan that is held calls such a change off.

    Raises NotFound, SubscriptionEnded, PlanNotOffered, SamePlan, ValidationFailed.
    """
    account, subscription = _lock_active(session, subscription_id, user_id)
    plan = _offered(session, account, plan_id)
    if plan.category != subscription.category:
        raise ValidationFailed(
            errors=[{"field": "plan_id", "message": f"must be a plan of category {subscription.category}"}]
        )
    now = clock.now()
    moment = _next_month(now) if at_period_end else now
    if subscription.ends_at is not None and subscription.ends_at <= moment:
        raise SubscriptionEnded("The subscription ends before the change would take effect")
    current, to_come = _forget_future(session, subscription, now)
    if current.plan_id == plan.id:
        if not to_come:
            raise SamePlan()
        session.flush()
        return subscription
    current.ends_at = moment
    if current.starts_at == moment:
        session.delete(current)
    session.add(_term(subscription, plan.id, moment, subscription.ends_at))
    session.flush()
    return subscription


def cancel_subscription(
    session: Session, *, subscription_id: str, user_id: str, at_period_end: bool
) -> Subscription:
    """End it now or with the month. Raises NotFound, SubscriptionEnded."""
    _, subscription = _lock_active(session, subscription_id, user_id)
    now = clock.now()
    moment = _next_month(now) if at_period_end else now
    current, _ = _forget_future(session, subscription, now)
    current.ends_at = subscription.ends_at = moment
    session.flush()
    return subscription


def _plan(wish: PlanIn, plan_id: str, created_by: str | None) -> Plan:
    return Plan(
        id=plan_id,
        code=wish.code,
        name=wish.name,
        description=wish.description,
        category=wish.category,
        currency=wish.price.currency,
        price_minor=wish.price.amount_minor,
        rates=RATES.dump_json(tuple(wish.rates)).decode(),
        roaming_cap_minor=None if wish.roaming_cap is None else wish.roaming_cap.amount_minor,
        offered=True,
        created_by=created_by,
    )


def close_account(session: Session, *, user_id: str, at: datetime) -> None:
    """The user is gone: what was subscribed then ends now, what is owed stays owed. Safe to repeat.

    Raises NotYet before the account is there.
    """
    account = deactivate_account(session, user_id=user_id, at=at)
    now = clock.now()
    held = select(Subscription).where(
        Subscription.account_id == account.id, Subscription.settled.is_(False), Subscription.started_at <= at
    )
    for subscription in session.scalars(held.with_for_update()):
        if subscription.active_at(now):
            current, _ = _forget_future(session, subscription, now)
            current.ends_at = subscription.ends_at = now


def _lock_active(session: Session, subscription_id: str, user_id: str) -> tuple[Account, Subscription]:
    found = session.get(Subscription, subscription_id)
    if found is None or found.user_id != user_id:
        raise NotFound()
    account = lock_account(session, found.account_id)
    session.refresh(found)
    if not found.active_at(clock.now()):
        raise SubscriptionEnded()
    return account, found


def _offered(session: Session, account: Account, plan_id: str) -> Plan:
    plan = session.get(Plan, plan_id)
    if plan is None:
        raise NotFound("There is no such plan")
    if not plan.offered or plan.currency != account.currency:
        raise PlanNotOffered()
    return plan


def _term(
    subscription: Subscription, plan_id: str, starts_at: datetime, ends_at: datetime | None = None
) -> SubscriptionTerm:
    return SubscriptionTerm(
        subscription_id=subscription.id,
        account_id=subscription.account_id,
        plan_id=plan_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _forget_future(
    session: Session, subscription: Subscription, now: datetime
) -> tuple[SubscriptionTerm, bool]:
    """The term that holds now, with nothing after it, and whether there was something."""
    terms = select(SubscriptionTerm).where(SubscriptionTerm.subscription_id == subscription.id)
    current, to_come = None, False
    for term in session.scalars(terms.order_by(SubscriptionTerm.starts_at, SubscriptionTerm.id)):
        if term.starts_at > now:
            session.delete(term)
            to_come = True
        else:
            current = term
    assert current is not None
    current.ends_at = subscription.ends_at
    return current, to_come


def _next_month(now: datetime) -> datetime:
    return start_of(first_day(after(period_of(now))))
