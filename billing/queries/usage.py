"""What was used, and what is left of allowances."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from billing.models import Account, Allowance, Plan, SubscriptionTerm, UsageRecord, UsageTotal
from billing.models.tariffs import RATES
from common import clock


def usage_by_kind(session: Session, account: Account, from_day: date, to_day: date) -> dict[str, Any]:
    """What was used on some days, both included (`schemas.UsageOut`), and what is left of allowances now."""
    starts = datetime.combine(from_day, time(), clock.OPERATOR_ZONE)
    ends = datetime.combine(to_day + timedelta(days=1), time(), clock.OPERATOR_ZONE)
    sums = (
        select(
            UsageRecord.kind,
            UsageRecord.zone,
            func.count(),
            func.sum(UsageRecord.quantity),
            func.sum(UsageRecord.amount_minor),
        )
        .where(
            UsageRecord.account_id == account.id,
            UsageRecord.occurred_at >= starts,
            UsageRecord.occurred_at < ends,
        )
        .group_by(UsageRecord.kind, UsageRecord.zone)
        .order_by(UsageRecord.kind, UsageRecord.zone)
    )
    return {
        "from": from_day.isoformat(),
        "to": to_day.isoformat(),
        "items": [
            {
                "kind": kind,
                "zone": zone,
                "records": records,
                "quantity": int(quantity),
                "charged": account.money(int(charged)),
            }
            for kind, zone, records, quantity, charged in session.execute(sums)
        ],
        "allowances": [*_bought_allowances(session, account), *_plan_allowances(session, account)],
    }


def _bought_allowances(session: Session, account: Account) -> list[dict[str, Any]]:
    now = clock.now()
    live = select(Allowance).where(
        Allowance.user_id == account.user_id, or_(Allowance.ends_at.is_(None), Allowance.ends_at > now)
    )
    return [
        {
            "source": "service",
            "name": each.name,
            "kind": each.kind,
            "zone": None,
            "granted": each.granted,
            "used": each.used,
            "percent": each.used * 100 // each.granted,
            "until": each.ends_at,
            "service_id": each.service_id,
        }
        for each in session.scalars(live.order_by(Allowance.service_id, Allowance.kind))
    ]


def _plan_allowances(session: Session, account: Account) -> list[dict[str, Any]]:
    """What the plans held now include this month."""
    now = clock.now()
    held = (
        select(Plan)
        .join(SubscriptionTerm, SubscriptionTerm.plan_id == Plan.id)
        .where(
            SubscriptionTerm.account_id == account.id,
            SubscriptionTerm.starts_at <= now,
            or_(SubscriptionTerm.ends_at.is_(None), SubscriptionTerm.ends_at > now),
        )
        .order_by(Plan.id)
    )
    period = f"{clock.today():%Y-%m}"
    totals = select(UsageTotal).where(UsageTotal.account_id == account.id, UsageTotal.period == period)
    used = {(t.plan_id, t.kind, t.zone): t.quantity for t in session.scalars(totals)}
    next_month = (clock.today().replace(day=1) + timedelta(days=32)).replace(day=1)
    until = datetime.combine(next_month, time(), clock.OPERATOR_ZONE).astimezone(UTC)
    found = []
    for plan in session.scalars(held):
        for rate in RATES.validate_json(plan.rates):
            if rate.included:
                so_far = min(rate.included, used.get((plan.id, rate.kind, rate.zone), 0))
                found.append(
                    {
                        "source": "plan",
                        "name": plan.name,
                        "kind": rate.kind,
                        "zone": rate.zone,
                        "granted": rate.included,
                        "used": so_far,
                        "percent": so_far * 100 // rate.included,
                        "until": until,
                        "service_id": None,
                    }
                )
    return found
