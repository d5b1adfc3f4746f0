"""Events that notification emits: what became of messages that left the house."""

from common import context
from common.db.session import NewEvent
from common.messaging import new_event
from notification.models import Delivery


def notification_sent(delivery: Delivery) -> NewEvent:
    return _outcome("notification.sent", delivery, None)


def notification_failed(delivery: Delivery, reason: str) -> NewEvent:
    return _outcome("notification.failed", delivery, reason)


def _outcome(event_type: str, delivery: Delivery, reason: str | None) -> NewEvent:
    """Tied to what caused the message, though it is sent much later perhaps."""
    request = context.request_id.set(delivery.correlation_id)
    try:
        return _event(event_type, delivery, reason)
    finally:
        context.request_id.reset(request)


def _event(event_type: str, delivery: Delivery, reason: str | None) -> NewEvent:
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
