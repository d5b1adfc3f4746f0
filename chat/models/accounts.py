"""What the bot and the agents are shown of a customer: copies fed by the events of other services.

Each row knows the time of the newest event that formed it; older news changes nothing, so any order of arrival ends in
the same row.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from chat.models.base import Base
from common.db import Id
from common.money import Money


class Wallet(Base):
    """A customer's prepaid balance. `entry_id` is of the newest entry: it decides between two of one instant."""

    __tablename__ = "wallets"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    entry_id: Mapped[str] = mapped_column(Id)
    as_of: Mapped[datetime]

    @property
    def balance(self) -> Money:
        return Money(amount_minor=self.balance_minor, currency=self.currency)


class Bar(Base):
    """Whether a customer's account is barred; `level` None: it is not (any more)."""

    __tablename__ = "bars"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    level: Mapped[str | None] = mapped_column(String(10))
    as_of: Mapped[datetime]


class Invoice(Base):
    """A bill; `amount_due_minor` 0: paid or void."""

    __tablename__ = "invoices"
    __table_args__ = (Index("ix_invoices_user_id_id", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    number: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))
    amount_due_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    due_on: Mapped[date | None] = mapped_column(Date)
    as_of: Mapped[datetime]

    @property
    def amount_due(self) -> Money:
        return Money(amount_minor=self.amount_due_minor, currency=self.currency)


class Order(Base):
    """An order as far as events told: `pending_payment`, `acknowledged`, `completed`, `failed`, `cancelled`."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_user_id_id", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    number: Mapped[str] = mapped_column(String(40))
    offering_name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20))
    as_of: Mapped[datetime]


class Service(Base):
    """A live service with its allowances, each `{"kind", "granted", "used"}` as of `as_of`, or of an `as_of` of its own
    once usage was told."""

    __tablename__ = "services"
    __table_args__ = (Index("ix_services_user_id_id", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    offering_name: Mapped[str] = mapped_column(String(200))
    category: Mapped[str | None] = mapped_column(String(50))
    active: Mapped[bool]
    allowances: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    expires_at: Mapped[datetime | None]
    as_of: Mapped[datetime]
