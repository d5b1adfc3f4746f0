"""Accounts, their postal addresses and their lines."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from auth.models.base import Base
from common import clock, ids
from common.db import Id, enum_column
from common.errors import Conflict


class Role(StrEnum):
    CUSTOMER = "customer"
    AGENT = "agent"
    ADMIN = "admin"


class Language(StrEnum):
    ENGLISH = "en"
    SINHALA = "si"
    TAMIL = "ta"


class User(Base):
    """An account; `phone` is E.164. One that has let go of its number and address, for their next owners, has them in
    `released_phone` and `released_email`, and in `phone` what is nobody's number."""

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
    released_phone: Mapped[str | None] = mapped_column(String(20))
    released_email: Mapped[str | None] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    @property
    def last_phone(self) -> str:
        """The number that the account has, or had when it was closed."""
        return self.released_phone or self.phone

    @property
    def last_email(self) -> str | None:
        return self.released_email or self.email

    def release_contacts(self) -> None:
        """Let go of number and address. Raises Conflict while the account is open. Safe to repeat."""
        if self.active:
            raise Conflict("An open account keeps its number")
        if self.released_phone is None:
            self.released_phone, self.released_email = self.phone, self.email
            self.phone, self.email = f"closed-{self.id[-12:]}", None
            self.phone_verified_at = self.email_verified_at = None

    def take_back(self, *, email: bool) -> None:
        """Have the number, and the address unless it is another's now, again; to be verified anew."""
        if self.released_phone is not None:
            self.phone, self.email = self.released_phone, self.released_email if email else None
            self.released_phone = self.released_email = None


class Address(Base):
    """A postal address of a user."""

    __tablename__ = "addresses"
    __table_args__ = (Index("ix_addresses_user_id_id", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    label: Mapped[str] = mapped_column(String(50))
    line1: Mapped[str] = mapped_column(String(200))
    line2: Mapped[str | None] = mapped_column(String(200))
    city: Mapped[str] = mapped_column(String(100))
    postal_code: Mapped[str] = mapped_column(String(12))
    country: Mapped[str] = mapped_column(String(2))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class Line(Base):
    """A further number (MSISDN, E.164) of an account. Anyone may claim one; only one account can have it verified."""

    __tablename__ = "lines"
    __table_args__ = (
        Index("ix_lines_user_id_id", "user_id", "id"),
        Index(
            "uq_lines_verified_msisdn",
            "msisdn",
            unique=True,
            sqlite_where=text("verified_at IS NOT NULL"),
            postgresql_where=text("verified_at IS NOT NULL"),
        ),
        Index("uq_lines_user_id_msisdn", "user_id", "msisdn", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    msisdn: Mapped[str] = mapped_column(String(20))
    label: Mapped[str | None] = mapped_column(String(50))
    verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
