"""What was used: records as they came, monthly totals on which rating stands, bought allowances."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base
from common import clock
from common.db import Id

HOME = "home"
"""The zone of the operator's own network; every other zone is roaming."""

_UNBILLED = text("amount_minor <> billed_minor")


class UsageRecord(Base):
    """A record of the network; its id decides that it counts once. Only ever added.

    `quantity` is what was measured. `plan_id` is the plan that rated it (None: no subscription covers it),
    `from_allowance` the part that a bought allowance covered, `amount_minor` what it added to the month's charges.
    """

    __tablename__ = "usage_records"
    __table_args__ = (Index("ix_usage_records_account_id_occurred_at", "account_id", "occurred_at"),)

    record_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(32))
    zone: Mapped[str] = mapped_column(String(32))
    quantity: Mapped[int] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime]
    plan_id: Mapped[str | None] = mapped_column(Id)
    from_allowance: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    received_at: Mapped[datetime] = mapped_column(default=clock.now)


class UsageTotal(Base):
    """A month's usage of one kind and zone under one plan. `quantity` is in whole units as the plan counts them,
    `notified` the highest percentage of the included quantity that the customer was told of."""

    __tablename__ = "usage_totals"
    __table_args__ = (
        CheckConstraint("quantity >= 0 AND amount_minor >= 0", name="sums"),
        Index("ix_usage_totals_unbilled", "account_id", postgresql_where=_UNBILLED, sqlite_where=_UNBILLED),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    period: Mapped[str] = mapped_column(String(7), primary_key=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    zone: Mapped[str] = mapped_column(String(32), primary_key=True)
    records: Mapped[int] = mapped_column(Integer)
    quantity: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    billed_minor: Mapped[int] = mapped_column(BigInteger)
    notified: Mapped[int] = mapped_column(Integer)
    roaming_notified: Mapped[int] = mapped_column(Integer)


class Allowance(Base):
    """A quantity that came with a service bought elsewhere (a data pack), used before anything is charged."""

    __tablename__ = "allowances"
    __table_args__ = (
        CheckConstraint("used >= 0 AND used <= granted", name="used"),
        Index("ix_allowances_user_id", "user_id"),
    )

    service_id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(String(200))
    granted: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger)
    notified: Mapped[int] = mapped_column(Integer)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]


class EndedService(Base):
    """When a service was switched off last: the event of an activation before that may come after it."""

    __tablename__ = "ended_services"

    service_id: Mapped[str] = mapped_column(Id, primary_key=True)
    ended_at: Mapped[datetime]
