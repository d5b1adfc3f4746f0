"""Decisions and writes of notification: whom to tell what through which channel, and what became of it."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.errors import NotFound
from common.messaging import Event, NotYet
from notification import events, rendering
from notification.models import (
    OPEN_STATES,
    AttemptOutcome,
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Language,
    Notification,
    Recipient,
)

PAUSES_S = (5, 30, 120, 600, 1800, 3600)
"""Before the second attempt, the third, …; the last one from then on."""
LONGEST_PAUSE_WHEN_AWAY_S = 300
"""A provider that comes back is noticed within this."""
GIVE_UP_AFTER = {Channel.EMAIL: timedelta(days=3), Channel.SMS: timedelta(days=1)}

SHOWN = frozenset(
    {
        "order_id",
        "number",
        "service_id",
        "order_number",
        "offering_id",
        "offering_code",
        "offering_name",
        "category",
        "total",
        "state",
        "reason",
        "invoice_id",
        "account_number",
        "amount_due",
        "due_on",
        "level",
        "payment_id",
        "refund_id",
        "reference",
        "amount",
        "method",
        "entry_id",
        "balance",
        "conversation_id",
        "ticket_id",
        "subject",
        "expires_at",
        "activated_at",
        "completed_at",
        "paid_at",
    }
)
"""Fields of events that an in-app notification carries as `data`. Anything else, a code above all, stays inside."""

_NOTHING: frozenset[str] = frozenset()
_TOLD_BY_PAYMENT = frozenset({"top_up", "payment", "refund"})


def remember_user(
    session: Session,
    *,
    user_id: str,
    phone: str,
    email: str | None,
    name: str,
    language: Language,
    as_of: datetime,
) -> Recipient:
    """Keep a user's addresses and language, unless newer ones are known. Safe in any order."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is None:
        recipient = Recipient(user_id=user_id, as_of=as_of)
        session.add(recipient)
    elif recipient.as_of > as_of:
        return recipient
    recipient.phone, recipient.email, recipient.name, recipient.language = phone, email, name, language
    recipient.as_of = as_of
    return recipient


def forget_user(session: Session, *, user_id: str, as_of: datetime) -> None:
    """Tell a deactivated user nothing more. Also before the user was known: then nothing of it is kept later."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is None:
        recipient = Recipient(user_id=user_id, as_of=as_of, name="")
        session.add(recipient)
    recipient.deactivated_at = as_of
    recipient.as_of = max(as_of, recipient.as_of)


def notify(session: Session, event: Event) -> None:
    """Tell the customer of an event: once per channel, whatever is redelivered.

    The in-app notification is readable when this commits; e-mail and SMS go out after it. Raises NotYet while the
    customer's language is not known.
    """
    channels = channels_for(event.type, event.data)
    if not channels:
        return
    recipient = session.get(Recipient, event.data["user_id"])
    if recipient is None:
        raise NotYet(f"user {event.data['user_id']} is not known here yet")
    if recipient.deactivated_at is not None or recipient.language is None or _told(session, event, recipient):
        return
    context = {**event.data, "name": recipient.name}
    if rendering.IN_APP in channels:
        words = rendering.render(event.type, recipient.language, rendering.IN_APP, context)
        session.add(
            Notification(
                user_id=recipient.user_id,
                event_id=event.id,
                event_type=event.type,
                language=recipient.language,
                title=words.title,
                body=words.body,
                data={field: value for field, value in event.data.items() if field in SHOWN},
            )
        )
    for channel in Channel:
        address = recipient.address(channel)
        if channel.value in channels and address is not None:
            _add_delivery(session, event, recipient, channel, address, context)


def channels_for(event_type: str, data: Mapping[str, Any]) -> frozenset[str]:
    """The channels by which a customer learns of an event; none when another message says the same."""
    channels = rendering.channels_of(event_type)
    rule = _RULES.get(event_type)
    return rule(channels, data) if rule is not None else channels


def _only_customers(channels: frozenset[str], data: Mapping[str, Any]) -> frozenset[str]:
    return channels if "customer" in data["roles"] else _NOTHING


def _only_unpaid(channels: frozenset[str], data: Mapping[str, Any]) -> frozenset[str]:
    """A free order is activated, and that told, within seconds."""
    return channels if data["state"] == "pending_payment" else _NOTHING


def _no_sms_for_orders(channels: frozenset[str], data: Mapping[str, Any]) -> frozenset[str]:
    """The activation sends one within seconds."""
    return channels - {Channel.SMS.value} if data["reference"]["type"] == "order" else channels


def _not_by_payment(channels: frozenset[str], data: Mapping[str, Any]) -> frozenset[str]:
    """The payment's own message says it; vouchers and transfers have none."""
    return _NOTHING if data["reason"] in _TOLD_BY_PAYMENT else channels


_RULES: Mapping[str, Callable[[frozenset[str], Mapping[str, Any]], frozenset[str]]] = {
    "user.created": _only_customers,
    "order.created": _only_unpaid,
    "payment.completed": _no_sms_for_orders,
    "wallet.credited": _not_by_payment,
    "wallet.debited": _not_by_payment,
}


def _told(session: Session, event: Event, recipient: Recipient) -> bool:
    """Whether this event's messages are here (a dead letter replayed after its inbox row was pruned)."""
    user = recipient.user_id
    here = select(Notification.id).where(Notification.event_id == event.id, Notification.user_id == user)
    sent = select(Delivery.id).where(Delivery.event_id == event.id, Delivery.user_id == user)
    return session.execute(here.union_all(sent).limit(1)).first() is not None


def _add_delivery(
    session: Session,
    event: Event,
    recipient: Recipient,
    channel: Channel,
    address: str,
    context: dict[str, Any],
) -> None:
    assert recipient.language is not None
    session.add(
        Delivery(
            id=ids.new_id(),
            user_id=recipient.user_id,
            event_id=event.id,
            event_type=event.type,
            channel=channel,
            address=address,
            language=recipient.language,
            data=context,
            correlation_id=event.correlation_id,
        )
    )
    wake(session, sending_job(channel))


def sending_job(channel: Channel) -> str:
    """The name of the worker's job that sends a channel's messages."""
    return f"send-{channel.value}"


def begin_attempt(session: Session, *, channel: Channel, provider: str, lease: timedelta) -> Delivery | None:
    """Claim the message of a channel that is due first, and note the attempt before it is made.

    An attempt that died in the middle is claimed again when its lease is over; what is too old is given up.
    """
    due = (
        select(Delivery)
        .where(Delivery.channel == channel, Delivery.state.in_(OPEN_STATES), Delivery.due_at <= clock.now())
        .order_by(Delivery.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    while (delivery := session.scalar(due)) is not None:
        if delivery.state is DeliveryState.SENDING:
            _finish_attempt(session, delivery, AttemptOutcome.UNKNOWN, reason="interrupted")
        if delivery.attempts and delivery.created_at < clock.now() - GIVE_UP_AFTER[channel]:
            delivery.settle(DeliveryState.PERMANENT_FAILURE)
            session.add(events.notification_failed(delivery, "gave_up"))
            continue
        delivery.begin_attempt(lease)
        session.add(DeliveryAttempt(delivery_id=delivery.id, number=delivery.attempts, provider=provider))
        return delivery
    return None


def settle_attempt(
    session: Session,
    *,
    delivery_id: str,
    number: int,
    outcome: AttemptOutcome,
    reason: str | None = None,
    detail: str | None = None,
    provider_reference: str | None = None,
    provider_away: bool = False,
) -> None:
    """Note how an attempt ended. No effect when another attempt has begun since."""
    delivery = session.get(Delivery, delivery_id, with_for_update=True, populate_existing=True)
    if delivery is None or delivery.state is not DeliveryState.SENDING or delivery.attempts != number:
        return
    _finish_attempt(session, delivery, outcome, reason=detail, provider_reference=provider_reference)
    if outcome is AttemptOutcome.SENT:
        delivery.settle(DeliveryState.SENT)
        session.add(events.notification_sent(delivery))
    elif outcome is AttemptOutcome.PERMANENT_FAILURE:
        delivery.settle(DeliveryState.PERMANENT_FAILURE)
        session.add(events.notification_failed(delivery, reason or "refused"))
    else:
        delivery.settle(
            DeliveryState.TEMPORARY_FAILURE, due_at=clock.now() + _pause(number, away=provider_away)
        )


def _finish_attempt(
    session: Session,
    delivery: Delivery,
    outcome: AttemptOutcome,
    *,
    reason: str | None,
    provider_reference: str | None = None,
) -> None:
    session.execute(
        update(DeliveryAttempt)
        .where(DeliveryAttempt.delivery_id == delivery.id, DeliveryAttempt.number == delivery.attempts)
        .values(
            outcome=outcome,
            finished_at=clock.now(),
            reason=reason[:300] if reason else None,
            provider_reference=provider_reference,
        )
    )


def _pause(attempts: int, *, away: bool) -> timedelta:
    """Longer each time, with jitter so that messages that failed together do not all come back together."""
    seconds = PAUSES_S[min(attempts, len(PAUSES_S)) - 1]
    if away:
        seconds = min(seconds, LONGEST_PAUSE_WHEN_AWAY_S)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter, not a secret)


def read_notification(session: Session, *, user_id: str, notification_id: str) -> Notification:
    """Mark as read. Safe to repeat. Raises NotFound, for another's too."""
    found = _own(session, user_id, notification_id)
    found.mark_read()
    return found


def read_all(session: Session, *, user_id: str) -> int:
    """Mark every unread notification as read; how many there were."""
    unread = (
        update(Notification)
        .where(
            Notification.user_id == user_id,
            Notification.read_at.is_(None),
            Notification.deleted_at.is_(None),
        )
        .values(read_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    return int(session.execute(unread).rowcount)  # type: ignore[attr-defined]


def delete_notification(session: Session, *, user_id: str, notification_id: str) -> None:
    """Take a notification out of the inbox for good. Raises NotFound, for another's and a deleted one too."""
    _own(session, user_id, notification_id).delete()


def _own(session: Session, user_id: str, notification_id: str) -> Notification:
    found = session.get(Notification, notification_id, with_for_update=True)
    if found is None or found.user_id != user_id or found.deleted_at is not None:
        raise NotFound()
    return found
