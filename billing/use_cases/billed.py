"""What the lines of a run's invoice bill, kept with it: voided, it gives that back, and a run bills it again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from sqlalchemy.orm import Session

from billing.models import BilledFee, Invoice, Subscription, UsageTotal


@dataclass(frozen=True, slots=True)
class BilledItem:
    """A part of a plan's fee for a month (of a subscription), or of its usage of one kind and zone."""

    plan_id: str
    period: str
    amount_minor: int
    subscription_id: str | None = None
    kind: str | None = None
    zone: str | None = None


def keep(items: Sequence[BilledItem]) -> str:
    """As the invoice keeps them."""
    return orjson.dumps([asdict(item) for item in items]).decode()


def give_back(session: Session, invoice: Invoice) -> None:
    """Nothing that a voided invoice billed counts as billed any more. The account is locked."""
    for values in orjson.loads(invoice.billed_items or "[]"):
        item = BilledItem(**values)
        if item.subscription_id is None:
            key = (invoice.account_id, item.period, item.plan_id, item.kind, item.zone)
            session.get_one(UsageTotal, key, with_for_update=True).billed_minor -= item.amount_minor
            continue
        fee = session.get_one(BilledFee, (item.subscription_id, item.plan_id, item.period))
        fee.billed_minor -= item.amount_minor
        subscription = session.get_one(Subscription, item.subscription_id)
        subscription.look_again_from(item.period)
