"""Whom to tell what through which channels."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BindParameter, bindparam, literal, null, select, type_coerce, union_all
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.messaging import Event, NotYet
from notification import rendering
from notification.models import (
    MANDATORY,
    SECRETS,
    Channel,
    Delivery,
    Device,
    Language,
    Notification,
    Preference,
    Recipient,
    Webhook,
    category_of,
)
from notification.use_cases import storms
from notification.use_cases.storms import Rules

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

_USER: BindParameter[str] = bindparam("user_id")
_RECIPIENT = (
    select(Recipient, Preference)
    .outerjoin(Preference, Preference.user_id == Recipient.user_id)
    .where(Recipient.user_id == _USER)
)
_TARGETS = union_all(
    select(literal(Channel.PUSH.value), Device.id, Device.endpoint, type_coerce(null(), JSON)).where(
        Device.user_id == _USER
    ),
    select(literal(Channel.WEBHOOK.value), Webhook.id, Webhook.url, Webhook.event_types).where(
        Webhook.user_id == _USER, Webhook.disabled_at.is_(None)
    ),
)
"""Both built once: they run for every event."""

_NOTHING: frozenset[str] = frozenset()
_TOLD_BY_PAYMENT = frozenset({"top_up", "payment", "refund"})


def notify(session: Session, event: Event, rules: Rules) -> None:
    """Tell the customer of an event: once per channel, whatever is redelivered.

    The in-app notification is readable when this commits; what leaves the house goes out after it. Raises NotYet while
    the customer's language is not known.
    """
    channels = channels_for(event.type, event.data)
    if not channels:
        return
    row = session.execute(_RECIPIENT, {"user_id": event.data["user_id"]}).first()
    if row is None:
        raise NotYet(f"user {event.data['user_id']} is not known here yet")
    recipient: Recipient = row[0]
    chosen: Preference | None = row[1]
    preference = chosen if chosen is not None else Preference(switched_off=[])
    if recipient.deactivated_at is not None or recipient.language is None or _told(session, event, recipient):
        return
    category = category_of(event.type)
    language = preference.language or recipient.language
    context = {**event.data, "name": recipient.name}
    words = None
    if rendering.IN_APP in channels:
        words = rendering.render(event.type, language, rendering.IN_APP, context)
    if words is not None and preference.allows(category, rendering.IN_APP):
        session.add(
            Notification(
                id=ids.new_id(),
                user_id=recipient.user_id,
                event_id=event.id,
                event_type=event.type,
                language=language,
                title=words.title,
                body=words.body,
                data=shown(event.data),
            )
        )
    ways = [way for way in _ways(session, recipient, channels, event) if preference.allows(category, way[0])]
    spared = words is not None and category not in MANDATORY
    overdone = storms.overdone(session, recipient.user_id, rules) if spared and ways else ()
    pushed = spared and any(channel is Channel.PUSH for channel, *_ in ways)
    for channel, target, address in ways:
        if words is not None and (channel, target) in overdone:
            storms.put_into_digest(
                session,
                recipient=recipient,
                category=category,
                language=language,
                channel=channel,
                target=target,
                address=address,
                title=words.title,
            )
            continue
        waits = rules.sms_if_unread_after if pushed and channel is Channel.SMS else None
        _add_delivery(session, event, recipient, language, channel, target, address, context, waits)


def shown(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event's data its reader may see as data."""
    return {field: value for field, value in data.items() if field in SHOWN}


def _ways(
    session: Session, recipient: Recipient, channels: frozenset[str], event: Event
) -> Iterator[tuple[Channel, str, str]]:
    """(channel, target, address) of each message that leaves the house. Devices and webhooks get the in-app words."""
    email, phone = recipient.email, recipient.phone
    if event.type in _CODES:
        email, phone = event.data.get("email"), event.data.get("phone")
    elif event.type == "user.phone.changed":  # whoever has the number that it was should know
        phone = event.data["old_phone"]
    if Channel.EMAIL in channels and email is not None:
        yield Channel.EMAIL, "", email
    if Channel.SMS in channels and phone is not None:
        yield Channel.SMS, "", phone
    if rendering.IN_APP in channels:
        for channel, target, address, types in session.execute(_TARGETS, {"user_id": recipient.user_id}):
            if not types or event.type in types:
                yield Channel(channel), target, address[:254]


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


def _only_as_asked(channels: frozenset[str], data: Mapping[str, Any]) -> frozenset[str]:
    """A code shows that its reader has the number or address that it was asked for."""
    return channels & {data["channel"]}


_CODES = frozenset(
    {
        "user.phone.verification.requested",
        "user.email.verification.requested",
        "user.password.reset.requested",
    }
)
"""They go to the number or address that the event names: a new one, or the one that a reset was asked for."""
_RULES: Mapping[str, Callable[[frozenset[str], Mapping[str, Any]], frozenset[str]]] = {
    "user.created": _only_customers,
    "order.created": _only_unpaid,
    "payment.completed": _no_sms_for_orders,
    "wallet.credited": _not_by_payment,
    "wallet.debited": _not_by_payment,
    **dict.fromkeys(_CODES, _only_as_asked),
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
    language: Language,
    channel: Channel,
    target: str,
    address: str,
    context: dict[str, Any],
    waits: timedelta | None,
) -> None:
    """`waits`: for its reader to read the notification in the app."""
    expires_at = event.data.get("expires_at") if SECRETS & event.data.keys() else None
    session.add(
        Delivery(
            id=ids.new_id(),
            user_id=recipient.user_id,
            event_id=event.id,
            event_type=event.type,
            channel=channel,
            target=target,
            address=address,
            language=language,
            data=context,
            correlation_id=event.correlation_id,
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            due_at=clock.now() + (waits or timedelta()),
            unless_read=waits is not None,
        )
    )
    wake(session, sending_job(channel))


def sending_job(channel: Channel) -> str:
    """The name of the worker's job that sends a channel's messages."""
    return f"send-{channel.value}"
