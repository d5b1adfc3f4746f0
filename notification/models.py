"""Tables of notification."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata


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


OPEN_STATES = (DeliveryState.CREATED, DeliveryState.SENDING, DeliveryState.TEMPORARY_FAILURE)


class Recipient(Base):
    """What auth last said about a user (`as_of`: when). Without a language only the deactivation is known."""

    __tablename__ = "recipients"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    phone: Mapped[str | None] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200), default="")
    language: Mapped[Language | None] = mapped_column(enum_column(Language))
    as_of: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]

    def address(self, channel: Channel) -> str | None:
        return self.email if channel is Channel.EMAIL else self.phone


class Notification(Base):
    """A message in a user's in-app inbox. A deleted one stays as an empty row, so that its event is not told again."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("event_id", "user_id"),
        Index(
            "ix_notifications_inbox",
            "user_id",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_notifications_unread",
            "user_id",
            "id",
            postgresql_where=text("read_at IS NULL AND deleted_at IS NULL"),
            sqlite_where=text("read_at IS NULL AND deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    event_id: Mapped[str] = mapped_column(String(100))
    event_type: Mapped[str] = mapped_column(String(100))
    language: Mapped[Language] = mapped_column(enum_column(Language))
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    read_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    def mark_read(self) -> None:
        """Safe to repeat: the first reading counts."""
        self.read_at = self.read_at or clock.now()

    def delete(self) -> None:
        self.deleted_at = clock.now()
        self.title, self.body, self.data = "", "", {}


class Delivery(Base):
    """One message on its way out through one channel. Its id is the message's identity at the provider.

    `due_at` is when the next attempt may start; while one runs, when its lease ends (a crash in the middle).
    `data` is what the template needs.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "channel", "user_id"),
        Index(
            "ix_deliveries_due",
            "channel",
            "due_at",
            postgresql_where=text("state IN ('created', 'sending', 'temporary_failure')"),
            sqlite_where=text("state IN ('created', 'sending', 'temporary_failure')"),
        ),
        Index("ix_deliveries_user", "user_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    event_id: Mapped[str] = mapped_column(String(100))
    event_type: Mapped[str] = mapped_column(String(100))
    channel: Mapped[Channel] = mapped_column(enum_column(Channel))
    address: Mapped[str] = mapped_column(String(254))
    language: Mapped[Language] = mapped_column(enum_column(Language))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    correlation_id: Mapped[str] = mapped_column(String(200))
    state: Mapped[DeliveryState] = mapped_column(enum_column(DeliveryState), default=DeliveryState.CREATED)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=clock.now)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    def begin_attempt(self, lease: timedelta) -> None:
        assert self.state in OPEN_STATES
        self.state = DeliveryState.SENDING
        self.attempts += 1
        self.due_at = clock.now() + lease

    def settle(self, state: DeliveryState, *, due_at: datetime | None = None) -> None:
        assert self.state in OPEN_STATES
        self.state = state
        self.due_at = due_at or clock.now()


class DeliveryAttempt(Base):
    """One call of a provider; without `finished_at` it is running, or died in the middle."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    finished_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None] = mapped_column(enum_column(AttemptOutcome))
    provider: Mapped[str] = mapped_column(String(50))
    provider_reference: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(String(300))
