"""Messages: the in-app inbox, what leaves the house, its attempts, and receipts that came too early."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from notification.models.base import (
    OPEN_STATES,
    SECRETS,
    AttemptOutcome,
    Base,
    Category,
    Channel,
    DeliveryState,
    Language,
    category_of,
    where,
)


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
    `data` is what the template needs. `target` is the device or webhook that it goes to, where a user may have several.
    After `expires_at` (that of a code in it) it is worth nothing to anybody; with `unless_read` it is not sent when its
    event's notification has been read.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "channel", "user_id", "target"),
        Index(
            "ix_deliveries_due",
            "channel",
            "due_at",
            postgresql_where=text("state IN ('created', 'sending', 'temporary_failure')"),
            sqlite_where=text("state IN ('created', 'sending', 'temporary_failure')"),
        ),
        Index("ix_deliveries_user", "user_id", "id"),
        Index("ix_deliveries_lately", "user_id", "created_at"),
        Index("ix_deliveries_target", "target", "id", **where("target <> ''")),
        Index("ix_deliveries_state", "state", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    event_id: Mapped[str] = mapped_column(String(100))
    event_type: Mapped[str] = mapped_column(String(100))
    channel: Mapped[Channel] = mapped_column(enum_column(Channel))
    target: Mapped[str] = mapped_column(Id, default="", server_default="")
    address: Mapped[str] = mapped_column(String(254))
    language: Mapped[Language] = mapped_column(enum_column(Language))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    correlation_id: Mapped[str] = mapped_column(String(200))
    state: Mapped[DeliveryState] = mapped_column(enum_column(DeliveryState), default=DeliveryState.CREATED)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime | None]
    retried_at: Mapped[datetime | None]
    unless_read: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    @property
    def category(self) -> Category:
        return category_of(self.event_type)

    def settle(self, state: DeliveryState, *, due_at: datetime | None = None) -> None:
        """What can never be sent again forgets the code that it carried."""
        assert self.state in OPEN_STATES
        self.state = state
        self.due_at = due_at or clock.now()
        if state is not DeliveryState.TEMPORARY_FAILURE and SECRETS & self.data.keys():
            self.data = {name: value for name, value in self.data.items() if name not in SECRETS}

    def receive(self, *, delivered: bool) -> None:
        """The provider's last word on a message that it took."""
        assert self.state is DeliveryState.SENT
        self.state = DeliveryState.DELIVERED if delivered else DeliveryState.PERMANENT_FAILURE

    def retry(self) -> None:
        """Now; what is too old is measured from here on."""
        assert self.state not in (DeliveryState.CREATED, DeliveryState.SENDING)
        self.state = DeliveryState.TEMPORARY_FAILURE
        self.due_at = self.retried_at = clock.now()


class DeliveryAttempt(Base):
    """One call of a provider, written when it is over; of one that died with its process only that is known.

    `text_version` and `words_sha256` say which words it carried, `receipt_at` when the provider said what became of it.
    """

    __tablename__ = "delivery_attempts"
    __table_args__ = (
        Index(
            "ix_delivery_attempts_reference",
            "provider_reference",
            **where("provider_reference IS NOT NULL"),
        ),
    )

    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    finished_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None] = mapped_column(enum_column(AttemptOutcome))
    provider: Mapped[str] = mapped_column(String(50))
    provider_reference: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(String(300))
    text_version: Mapped[int | None]
    words_sha256: Mapped[str | None] = mapped_column(String(64))
    receipt_at: Mapped[datetime | None]


class EarlyReceipt(Base):
    """A provider's last word on a message whose reference is not here yet: its answer to our call is on its way."""

    __tablename__ = "early_receipts"

    provider: Mapped[str] = mapped_column(String(50), primary_key=True)
    reference: Mapped[str] = mapped_column(String(200), primary_key=True)
    delivered: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(300))
    received_at: Mapped[datetime] = mapped_column(default=clock.now)
