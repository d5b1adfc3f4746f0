"""Plans, who subscribes to them since when, and how much of their fees has been billed."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base
from common import clock, ids
from common.db import Id
from common.money import Money


class Plan(Base):
    """What may be subscribed to. Its prices never change: a new price is a new plan, and the old one is withdrawn.

    `rates` is a JSON text of what usage costs (`models.tariffs.Rate`); `roaming_cap_minor` bounds a month's charges
    for usage outside the home zone.
    """

    __tablename__ = "plans"
    __table_args__ = (CheckConstraint("price_minor >= 0", name="price"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(String(500))
    category: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    price_minor: Mapped[int] = mapped_column(BigInteger)
    rates: Mapped[str] = mapped_column(Text)
    roaming_cap_minor: Mapped[int | None] = mapped_column(BigInteger)
    offered: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    @property
    def price(self) -> Money:
        return Money(amount_minor=self.price_minor, currency=self.currency)


class Subscription(Base):
    """An account's standing order for a plan of one category; its terms say which plan held when.

    `ends_at` may lie in the future (cancelled at the end of the period). `billed_through` is the last month for which
    a run has billed it, `settled` that nothing can be left to bill.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        Index("ix_subscriptions_account_id_id", "account_id", "id"),
        Index("ix_subscriptions_settled_account_id", "settled", "account_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[str] = mapped_column(Id)
    category: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    billed_through: Mapped[str | None] = mapped_column(String(7))
    settled: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def active_at(self, at: datetime) -> bool:
        return self.ends_at is None or at < self.ends_at

    def look_again_from(self, period: str) -> None:
        """Something of a month is not billed any more."""
        self.settled = False
        if self.billed_through is not None:
            self.billed_through = min(self.billed_through, period)


class SubscriptionTerm(Base):
    """A plan held from one instant to another; without an end until further notice."""

    __tablename__ = "subscription_terms"
    __table_args__ = (Index("ix_subscription_terms_subscription_id", "subscription_id", "starts_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscriptions.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]


class BilledFee(Base):
    """How much of a plan's fee for a month has been billed so far; a run bills only the difference."""

    __tablename__ = "billed_fees"

    subscription_id: Mapped[str] = mapped_column(ForeignKey("subscriptions.id"), primary_key=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    period: Mapped[str] = mapped_column(String(7), primary_key=True)
    billed_minor: Mapped[int] = mapped_column(BigInteger)
