"""What SMS providers say later of messages that they took."""

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, select
from sqlalchemy.orm import Session

from common import clock
from notification import events
from notification.models import Delivery, DeliveryAttempt, DeliveryState, EarlyReceipt

KEPT_FOR = timedelta(days=3)
"""A receipt whose message is not known by then is of none of ours."""
AT_ONCE = 200


def note_receipt(session: Session, *, provider: str, reference: str, delivered: bool, reason: str) -> None:
    """Safe to repeat, in any order: the first word counts. One that comes before the provider's answer to our call is
    stored waits for it."""
    attempt = session.scalars(
        select(DeliveryAttempt)
        .where(DeliveryAttempt.provider_reference == reference, DeliveryAttempt.provider == provider)
        .order_by(DeliveryAttempt.started_at.desc())
        .limit(1)
    ).first()
    if attempt is not None:
        _apply(session, attempt, delivered=delivered, reason=reason, at=clock.now())
    elif session.get(EarlyReceipt, (provider, reference)) is None:
        early = EarlyReceipt(provider=provider, reference=reference, delivered=delivered, reason=reason[:300])
        session.add(early)


def apply_early_receipts(session: Session) -> bool:
    """Those whose messages are known by now; whether there may be more. Forgets those that never will be."""
    known = (
        select(EarlyReceipt, DeliveryAttempt)
        .join(
            DeliveryAttempt,
            and_(
                DeliveryAttempt.provider_reference == EarlyReceipt.reference,
                DeliveryAttempt.provider == EarlyReceipt.provider,
            ),
        )
        .limit(AT_ONCE)
    )
    found = session.execute(known).all()
    for early, attempt in found:
        _apply(session, attempt, delivered=early.delivered, reason=early.reason, at=early.received_at)
        session.delete(early)
    session.execute(delete(EarlyReceipt).where(EarlyReceipt.received_at < clock.now() - KEPT_FOR))
    return len(found) == AT_ONCE


def _apply(session: Session, attempt: DeliveryAttempt, *, delivered: bool, reason: str, at: datetime) -> None:
    delivery = session.get_one(Delivery, attempt.delivery_id, with_for_update=True)
    if delivery.state is not DeliveryState.SENT:
        return
    delivery.receive(delivered=delivered)
    attempt.receipt_at = at
    if not delivered:
        attempt.reason = reason[:300]
        session.add(events.notification_failed(delivery, "not_delivered"))
