"""What is known of customers, and printed vouchers."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from payment.models.base import Base


class Customer(Base):
    """Whose number is whose, as auth's events tell: so that money can be sent to a number."""

    __tablename__ = "customers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    phone: Mapped[str] = mapped_column(String(20), index=True)
    active: Mapped[bool]
    as_of: Mapped[datetime]


class VoucherState(StrEnum):
    ACTIVE = "active"
    REDEEMED = "redeemed"


class Voucher(Base):
    """A printed code, kept only as a keyed hash."""

    __tablename__ = "vouchers"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount_positive"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    batch: Mapped[str] = mapped_column(String(50), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    expires_on: Mapped[date | None]
    state: Mapped[VoucherState] = mapped_column(enum_column(VoucherState))
    redeemed_by: Mapped[str | None] = mapped_column(Id)
    redeemed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class VoucherGuesses(Base):
    """A customer's wrong codes in a row."""

    __tablename__ = "voucher_guesses"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    failures: Mapped[int]
    locked_until: Mapped[datetime | None]
