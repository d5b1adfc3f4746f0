"""Tables of notification."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

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
_SECURITY_TYPES = frozenset({"user.locked_out", "user.password.changed"})
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
    """An event's category; that of a broadcast stands in its type (`broadcast.<category>`)."""
    family, _, rest = event_type.partition(".")
    if event_type in _STATUTORY_TYPES:
        return Category.STATUTORY
    if event_type in _SECURITY_TYPES or event_type.endswith(".requested"):
        return Category.SECURITY
    return Category(rest) if family == "broadcast" else _FAMILIES.get(family, Category.ACCOUNT)


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


def _where(condition: str) -> dict[str, Any]:
    """A partial index on both databases."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


OPEN_STATES = (DeliveryState.CREATED, DeliveryState.SENDING, DeliveryState.TEMPORARY_FAILURE)


class Recipient(Base):
    """What auth last said about a user (`as_of`: when). Without a language only the deactivation is known.

    `unsubscribe_token` is what the links in the user's e-mails carry; made with the first of them.
    """

    __tablename__ = "recipients"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    phone: Mapped[str | None] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200), default="")
    language: Mapped[Language | None] = mapped_column(enum_column(Language))
    as_of: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]
    unsubscribe_token: Mapped[str | None] = mapped_column(String(40), unique=True)

    __table_args__ = (Index("ix_recipients_phone", "phone"),)


class Preference(Base):
    """What a user has chosen. No row: everything is on, at any hour, in the profile's language.

    `switched_off` has `<category>.<channel>` entries. Quiet hours are wall-clock times in `timezone`; a start
    after the end spans midnight.
    """

    __tablename__ = "preferences"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    language: Mapped[Language | None] = mapped_column(enum_column(Language))
    switched_off: Mapped[list[str]] = mapped_column(JSON, default=list)
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))
    timezone: Mapped[str] = mapped_column(String(64), default="Asia/Colombo")
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    def allows(self, category: Category, channel: str) -> bool:
        return category in MANDATORY or f"{category.value}.{channel}" not in self.switched_off

    def switch(self, category: Category, channel: str, *, on: bool) -> None:
        """Safe to repeat. Mandatory categories stay on whatever is switched."""
        entry = f"{category.value}.{channel}"
        self.switched_off = sorted({*self.switched_off, entry} - ({entry} if on else set()))

    def quiet_ends_at(self, at: datetime) -> datetime | None:
        """When the quiet hours in which `at` lies are over; None when it lies in none."""
        if self.quiet_from is None or self.quiet_until is None:
            return None
        zone = ZoneInfo(self.timezone)
        local = at.astimezone(zone)
        start, end = time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until)
        now = local.time().replace(tzinfo=None)
        if not (start <= now < end if start < end else now >= start or now < end):
            return None
        day = local.date() if now < end else local.date() + timedelta(days=1)
        return datetime.combine(day, end, zone).astimezone(UTC)


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
    After `expires_at` (that of a code in it) it is worth nothing to anybody.
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
        Index("ix_deliveries_target", "target", "id", **_where("target <> ''")),
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
        assert self.state in (DeliveryState.TEMPORARY_FAILURE, DeliveryState.PERMANENT_FAILURE)
        self.state = DeliveryState.TEMPORARY_FAILURE
        self.due_at = self.retried_at = clock.now()


class DeliveryAttempt(Base):
    """One call of a provider, written when it is over; of one that died with its process only that is known."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (
        Index(
            "ix_delivery_attempts_reference",
            "provider_reference",
            **_where("provider_reference IS NOT NULL"),
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


class Device(Base):
    """A web-push subscription of one of a user's browsers. The endpoint's hash tells it from all others."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_user", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    endpoint: Mapped[str] = mapped_column(String(1000))
    endpoint_hash: Mapped[str] = mapped_column(String(64), unique=True)
    p256dh: Mapped[str] = mapped_column(String(100))
    auth: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class Webhook(Base):
    """A user's own address for events. `secret` signs each call; no `event_types`: all of them.

    `failing_since` is the first failure after the last success; after long enough it is disabled.
    """

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_user", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    url: Mapped[str] = mapped_column(String(1000))
    secret: Mapped[str] = mapped_column(String(80))
    event_types: Mapped[list[str]] = mapped_column(JSON, default=list)
    description: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(50))

    def wants(self, event_type: str) -> bool:
        return self.disabled_at is None and (not self.event_types or event_type in self.event_types)

    def note_success(self) -> None:
        self.failing_since = None

    def note_failure(self, reason: str) -> None:
        """Disables it when it says that it is gone, or has failed for too long."""
        self.failing_since = self.failing_since or clock.now()
        if reason == "gone" or clock.now() - self.failing_since >= WEBHOOK_DISABLED_AFTER:
            self.disabled_at, self.disabled_reason = clock.now(), reason

    def enable(self) -> None:
        self.failing_since = self.disabled_at = self.disabled_reason = None


WEBHOOK_DISABLED_AFTER = timedelta(days=5)


class TextVersion(Base):
    """A text as staff have written it. Rows are only added; the highest version counts."""

    __tablename__ = "text_versions"

    code: Mapped[str] = mapped_column(String(100), primary_key=True)
    language: Mapped[Language] = mapped_column(enum_column(Language), primary_key=True)
    channel: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    @property
    def parts(self) -> dict[str, str]:
        return {"body": self.body} | ({"title": self.title} if self.title is not None else {})
