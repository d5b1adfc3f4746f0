"""What all tables share: their metadata, languages, channels and categories."""

from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase

from common.db import ModelBase, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class Language(StrEnum):
    ENGLISH = "en"
    SINHALA = "si"
    TAMIL = "ta"


class Channel(StrEnum):
    """Ways out of the house; the in-app inbox is a table of its own."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"


class Category(StrEnum):
    """What a message is about: customers choose by it."""

    ACCOUNT = "account"
    ORDERS = "orders"
    BILLING = "billing"
    PAYMENTS = "payments"
    CARE = "care"
    MARKETING = "marketing"
    SECURITY = "security"
    STATUTORY = "statutory"


MANDATORY = frozenset({Category.SECURITY, Category.STATUTORY})
"""Nobody can switch these off."""
_STATUTORY_TYPES = frozenset({"account.barred", "invoice.overdue"})
_SECURITY_TYPES = frozenset({"user.locked_out", "user.password.changed", "user.phone.changed"})
_FAMILIES = {
    "order": Category.ORDERS,
    "service": Category.ORDERS,
    "invoice": Category.BILLING,
    "usage": Category.BILLING,
    "account": Category.BILLING,
    "payment": Category.PAYMENTS,
    "wallet": Category.PAYMENTS,
    "chat": Category.CARE,
    "ticket": Category.CARE,
}


def category_of(event_type: str) -> Category:
    """An event's category; that of what is of no event stands in its type (`broadcast.<category>`)."""
    family, _, rest = event_type.partition(".")
    if event_type in _STATUTORY_TYPES:
        return Category.STATUTORY
    if event_type in _SECURITY_TYPES or event_type.endswith(".requested"):
        return Category.SECURITY
    return Category(rest) if family in ("broadcast", "digest") else _FAMILIES.get(family, Category.ACCOUNT)


SECRETS = frozenset({"code", "lines", "link", "token"})
"""Fields of events that only their reader may see."""


class DeliveryState(StrEnum):
    CREATED = "created"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    TEMPORARY_FAILURE = "temporary_failure"
    PERMANENT_FAILURE = "permanent_failure"


class AttemptOutcome(StrEnum):
    SENT = "sent"
    TEMPORARY_FAILURE = "temporary_failure"
    PERMANENT_FAILURE = "permanent_failure"
    UNKNOWN = "unknown"


def where(condition: str) -> dict[str, Any]:
    """A partial index on both databases."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


OPEN_STATES = (DeliveryState.CREATED, DeliveryState.SENDING, DeliveryState.TEMPORARY_FAILURE)
