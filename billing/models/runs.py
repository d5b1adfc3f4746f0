"""Dunning runs and billing runs: how far each has come."""

from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base, InvalidTransition
from common import clock, ids
from common.db import Id, enum_column

_WAITS = text("retry_at IS NOT NULL")


class RunState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"


class DunningRun(Base):
    """One pass over all accounts with something overdue; `cursor` is the last account done.

    `automatic_for` is set on the day's own run, so that there is one a day; others were asked for by an admin.
    """

    __tablename__ = "dunning_runs"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    state: Mapped[RunState] = mapped_column(enum_column(RunState), default=RunState.RUNNING, index=True)
    as_of: Mapped[date] = mapped_column(Date)
    automatic_for: Mapped[date | None] = mapped_column(Date, unique=True)
    requested_by: Mapped[str | None] = mapped_column(Id)
    cursor: Mapped[str] = mapped_column(Id, default="")
    accounts: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    reminders: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    invoices_overdue: Mapped[int] = mapped_column(Integer, default=0)
    soft_barred: Mapped[int] = mapped_column(Integer, default=0)
    hard_barred: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    def complete(self) -> None:
        if self.state is not RunState.RUNNING:
            raise InvalidTransition(f"dunning run is {self.state}")
        self.state, self.completed_at = RunState.COMPLETED, clock.now()


class BillingRun(Base):
    """The billing of one month, of which there is one; asked for again it looks for what has come since.

    Accounts are cut into slices (`cursor` is the last account in one, `planned` that there are no more), and any
    number of workers each take a slice, bill it and note it done in one transaction.
    """

    __tablename__ = "billing_runs"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    period: Mapped[str] = mapped_column(String(7), unique=True)
    state: Mapped[RunState] = mapped_column(enum_column(RunState), default=RunState.RUNNING, index=True)
    requested_by: Mapped[str | None] = mapped_column(Id)
    cursor: Mapped[str] = mapped_column(Id, default="")
    planned: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    def start_again(self) -> None:
        self.state, self.cursor, self.planned, self.completed_at = RunState.RUNNING, "", False, None

    def complete(self) -> None:
        if self.state is not RunState.RUNNING or not self.planned:
            raise InvalidTransition(f"billing run is {self.state}")
        self.state, self.completed_at = RunState.COMPLETED, clock.now()


FIRST_RETRY, LAST_RETRY = timedelta(minutes=1), timedelta(hours=6)


class BillingSlice(Base):
    """Some accounts of a billing run, by their ids from `first` to `last`, of one currency (None, from before migration
    0007: of any). Locked by whoever bills them.

    An account that could not be billed has a slice of its own: `failures` counts how often, `reason` is the last one's,
    and at `retry_at` it is tried again.
    """

    __tablename__ = "billing_slices"
    __table_args__ = (
        Index("ix_billing_slices_run_id", "run_id"),
        Index(
            "ix_billing_slices_open",
            "run_id",
            "id",
            postgresql_where=text("done_at IS NULL"),
            sqlite_where=text("done_at IS NULL"),
        ),
        Index("ix_billing_slices_retry_at", "retry_at", postgresql_where=_WAITS, sqlite_where=_WAITS),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("billing_runs.id"))
    first: Mapped[str] = mapped_column(Id)
    last: Mapped[str] = mapped_column(Id)
    currency: Mapped[str | None] = mapped_column(String(3))
    accounts: Mapped[int] = mapped_column(Integer, default=0)
    invoices: Mapped[int] = mapped_column(Integer, default=0)
    total_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    done_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    reason: Mapped[str | None] = mapped_column(String(100))
    retry_at: Mapped[datetime | None]

    def fail(self, reason: str) -> None:
        self.retry_at = clock.now() + min(LAST_RETRY, FIRST_RETRY * 2 ** min(self.failures, 20))
        self.failures, self.reason = self.failures + 1, reason[:100]

    def complete(self, *, accounts: int, invoices: int, total_minor: int) -> None:
        self.accounts, self.invoices, self.total_minor = accounts, invoices, total_minor
        self.done_at, self.retry_at = clock.now(), None
