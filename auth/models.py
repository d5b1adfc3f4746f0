"""Tables of auth."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class Role(StrEnum):
    CUSTOMER = "customer"
    AGENT = "agent"
    ADMIN = "admin"


class Language(StrEnum):
    ENGLISH = "en"
    SINHALA = "si"
    TAMIL = "ta"


class User(Base):
    """An account; `phone` is E.164."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    phone: Mapped[str] = mapped_column(String(20), unique=True)
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[Language] = mapped_column(enum_column(Language))
    password_hash: Mapped[str] = mapped_column(String(200))
    roles: Mapped[list[str]] = mapped_column(JSON)
    active: Mapped[bool] = mapped_column(default=True)
    phone_verified_at: Mapped[datetime | None]
    email_verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)


class LoginSession(Base):
    """One sign-in on one device: a family of refresh tokens that live and die together."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    client: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(300))
    ip: Mapped[str] = mapped_column(String(45))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    last_used_at: Mapped[datetime] = mapped_column(default=clock.now)
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    def revoke(self) -> bool:
        """Whether this ended it now (False: it had ended before)."""
        if self.revoked_at is not None:
            return False
        self.revoked_at = clock.now()
        return True


class RefreshToken(Base):
    """A refresh token by its hash; `spent_at` once it has been exchanged."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    spent_at: Mapped[datetime | None]

    session: Mapped[LoginSession] = relationship()

    def within_grace(self, grace: timedelta) -> bool:
        """Whether the answer to its exchange may still be on its way."""
        return self.spent_at is not None and clock.now() - self.spent_at <= grace


class AuditEntry(Base):
    """What happened on the platform, by event; rows are only ever added. Secrets are left out of `data`."""

    __tablename__ = "audit_log"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    event_id: Mapped[str] = mapped_column(String(100), unique=True)
    action: Mapped[str] = mapped_column(String(100), index=True)
    source: Mapped[str] = mapped_column(String(50))
    user_id: Mapped[str] = mapped_column(String(200), index=True)
    happened_at: Mapped[datetime] = mapped_column(index=True)
    recorded_at: Mapped[datetime] = mapped_column(default=clock.now)
    correlation_id: Mapped[str] = mapped_column(String(200))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
