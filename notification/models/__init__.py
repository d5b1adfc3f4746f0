"""Tables of notification."""

from notification.models.base import (
    MANDATORY,
    OPEN_STATES,
    SECRETS,
    AttemptOutcome,
    Base,
    Category,
    Channel,
    DeliveryState,
    Language,
    category_of,
)
from notification.models.broadcasts import UNENDED_STATES, Broadcast, BroadcastState
from notification.models.messages import Delivery, DeliveryAttempt, EarlyReceipt, Notification
from notification.models.people import Device, HeldService, Preference, Recipient, Webhook
from notification.models.texts import TextVersion

__all__ = [
    "MANDATORY",
    "OPEN_STATES",
    "SECRETS",
    "UNENDED_STATES",
    "AttemptOutcome",
    "Base",
    "Broadcast",
    "BroadcastState",
    "Category",
    "Channel",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryState",
    "Device",
    "EarlyReceipt",
    "HeldService",
    "Language",
    "Notification",
    "Preference",
    "Recipient",
    "TextVersion",
    "Webhook",
    "category_of",
]
