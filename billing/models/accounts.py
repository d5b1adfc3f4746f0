"""Accounts, and the gapless series of numbers."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Date, String
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base, InvalidTransition
from common import clock, ids
from common.db import Id, enum_column
from common.money import Money


class AccountKind(StrEnum):
    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class AccountStatus(StrEnum):
    ACTIVE = "active"
    SOFT_BARRED = "soft_barred"
    HARD_BARRED = "hard_barred"


class Counter(Base):
    """The last number given in a gapless series. Whoever takes the next one holds this row until the commit."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Account(Base):
    """A customer's billing account. Its row is the lock for everything that moves the customer's money here.

    `receivable_minor` and `credit_minor` are the sums of its ledger entries, kept by the function that posts.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("receivable_minor >= 0", name="receivable"),
        CheckConstraint("credit_minor >= 0", name="credit"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    number: Mapped[str] = mapped_column(String(14), unique=True)
    user_id: Mapped[str] = mapped_column(Id, unique=True)
    kind: Mapped[AccountKind] = mapped_column(enum_column(AccountKind))
    status: Mapped[AccountStatus] = mapped_column(enum_column(AccountStatus))
    currency: Mapped[str] = mapped_column(String(3))
    receivable_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    credit_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    barred_on: Mapped[date | None] = mapped_column(Date)
    name: Mapped[str] = mapped_column(String(200))
    phone: Mapped[str] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(254))
    language: Mapped[str] = mapped_column(String(8))
    profile_as_of: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def money(self, amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=self.currency)

    def bar(self, level: AccountStatus, on: date) -> None:
        """One level further: active, soft, hard."""
        before = {
            AccountStatus.SOFT_BARRED: AccountStatus.ACTIVE,
            AccountStatus.HARD_BARRED: AccountStatus.SOFT_BARRED,
        }
        if before.get(level) is not self.status:
            raise InvalidTransition(f"account {self.status} to {level}")
        self.status, self.barred_on = level, on

    def restore(self) -> None:
        if self.status is AccountStatus.ACTIVE:
            raise InvalidTransition("account is active")
        self.status, self.barred_on = AccountStatus.ACTIVE, None
