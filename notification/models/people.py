"""Whom messages are for: addresses, choices, browsers and webhooks."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import JSON, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from notification.models.base import MANDATORY, Base, Category, Language

WEBHOOK_DISABLED_AFTER = timedelta(days=5)


class Recipient(Base):
    """What auth last said about a user (`as_of`: when). Without a language only the deactivation is known.

    `barred` is what billing last said about the user's account (`barred_as_of`: when).

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
    barred: Mapped[bool] = mapped_column(default=False, server_default=false())
    barred_as_of: Mapped[datetime | None]
    unsubscribe_token: Mapped[str | None] = mapped_column(String(40), unique=True)

    __table_args__ = (Index("ix_recipients_phone", "phone"),)


class HeldService(Base):
    """What provisioning last said about a service of a user (`as_of`: when)."""

    __tablename__ = "held_services"
    __table_args__ = (Index("ix_held_services_user", "user_id", "offering_code"),)

    service_id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    offering_code: Mapped[str] = mapped_column(String(100))
    active: Mapped[bool]
    as_of: Mapped[datetime]


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
        same_pass = end.replace(fold=local.fold)  # of an hour that the clocks strike twice
        return datetime.combine(day, same_pass, zone).astimezone(UTC)


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
