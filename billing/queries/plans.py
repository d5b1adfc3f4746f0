"""Plans and subscriptions."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.models import Plan, Subscription, SubscriptionTerm
from billing.queries.accounts import get_account
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound


def list_plans(session: Session, query: PageQuery) -> Page[Plan]:
    """Those on offer."""
    return fetch_page(session, select(Plan).where(Plan.offered.is_(True)), Plan.id, query)


def list_subscriptions(session: Session, user_id: str, query: PageQuery) -> Page[Subscription]:
    """A user's subscriptions, ended ones too. Raises NotFound when there is no account."""
    account = get_account(session, user_id)
    statement = select(Subscription).where(Subscription.account_id == account.id)
    return fetch_page(session, statement, Subscription.id, query)


def get_subscription(session: Session, subscription_id: str, *, owner_id: str | None) -> Subscription:
    """A subscription; of that owner when given. Raises NotFound."""
    found = session.get(Subscription, subscription_id)
    if found is None or owner_id not in (None, found.user_id):
        raise NotFound()
    return found


def terms_of(session: Session, subscription_id: str) -> list[tuple[SubscriptionTerm, Plan]]:
    """The plans of a subscription and when each holds, in order of time."""
    terms = (
        select(SubscriptionTerm, Plan)
        .join(Plan, Plan.id == SubscriptionTerm.plan_id)
        .where(SubscriptionTerm.subscription_id == subscription_id)
        .order_by(SubscriptionTerm.starts_at)
    )
    return [(term, plan) for term, plan in session.execute(terms)]
