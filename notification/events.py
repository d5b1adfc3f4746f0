"""Events that notification emits: what became of messages that left the house."""

from common import context
from common.db.tables import Outbox
from common.messaging import new_event
from notification.models import Delivery


def notification_sent(delivery: Delivery) -> Outbox:
    return _outcome("notification.sent", delivery, None)


def notification_failed(delivery: Delivery, reason: str) -> Outbox:
    return _outcome("notification.failed", delivery, reason)


def _outcome(event_type: str, delivery: Delivery, reason: str | None) -> Outbox:
    """Tied to what caused the message, though it is sent much later perhaps."""
    request = context.request_id.set(delivery.correlation_id)
    try:
        return _event(event_type, delivery, reason)
    finally:
        context.request_id.reset(request)


def _event(event_type: str, delivery: Delivery, reason: str | None) -> Outbox:
    return new_event(
        event_type,
        subject=delivery.user_id,
        data={
            "delivery_id": delivery.id,
            "user_id": delivery.user_id,
            "channel": delivery.channel.value,
            "event_id": delivery.event_id,
            "event_type": delivery.event_type,
            "attempts": delivery.attempts,
            "reason": reason,
        },
    )
