"""Reconciliations: a gateway's settlement against our payments."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from payment.errors import DifferenceResolved
from payment.models.base import Base


class LineKind(StrEnum):
    CHARGE = "charge"
    REFUND = "refund"


class ReconciliationState(StrEnum):
    """`uploading → theirs → ours → completed`: their lines against ours, then ours against theirs."""

    UPLOADING = "uploading"
    THEIRS = "theirs"
    OURS = "ours"
    COMPLETED = "completed"
    REFUSED = "refused"


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT_DIFFERS = "amount_differs"
    STATE_DIFFERS = "state_differs"
    TWICE_THERE = "twice_there"


class Resolution(StrEnum):
    OPEN = "open"
    GATEWAY_ASKED = "gateway_asked"
    BY_HAND = "by_hand"


class Reconciliation(Base):
    """A settlement of a gateway for the days from `from_on` up to and with `to_on`, and how far it is compared:
    `line` of theirs, `cursor` (an id) of ours. When it is over its lines go: `cleared` of them have."""

    __tablename__ = "reconciliations"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    gateway: Mapped[str] = mapped_column(String(30))
    from_on: Mapped[date]
    to_on: Mapped[date]
    state: Mapped[ReconciliationState] = mapped_column(enum_column(ReconciliationState))
    lines: Mapped[int] = mapped_column(BigInteger, default=0)
    line: Mapped[int] = mapped_column(BigInteger, default=0)
    cursor: Mapped[str] = mapped_column(String(60), default="")
    cleared: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    matched: Mapped[int] = mapped_column(BigInteger, default=0)
    created_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]


class SettlementLine(Base):
    """A line of a settlement while it is compared; gone when that is done."""

    __tablename__ = "settlement_lines"
    __table_args__ = (Index("ix_settlement_lines_same", "reconciliation_id", "key", "kind", "n"),)

    reconciliation_id: Mapped[str] = mapped_column(ForeignKey("reconciliations.id"), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[LineKind] = mapped_column(enum_column(LineKind))
    key: Mapped[str] = mapped_column(Id)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))


class Difference(Base):
    """What did not match. Every one gets a resolution: the machinery asks the gateway, or a person decides."""

    __tablename__ = "reconciliation_differences"
    __table_args__ = (Index("ix_reconciliation_differences_run", "reconciliation_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    reconciliation_id: Mapped[str] = mapped_column(ForeignKey("reconciliations.id"))
    kind: Mapped[DifferenceKind] = mapped_column(enum_column(DifferenceKind))
    subject: Mapped[LineKind] = mapped_column(enum_column(LineKind))
    key: Mapped[str] = mapped_column(Id)
    ours_minor: Mapped[int | None] = mapped_column(BigInteger)
    theirs_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    resolution: Mapped[Resolution] = mapped_column(enum_column(Resolution))
    note: Mapped[str | None] = mapped_column(String(500))
    resolved_by: Mapped[str | None] = mapped_column(Id)
    resolved_at: Mapped[datetime | None]

    def resolve(self, *, by: str, note: str) -> None:
        """A person says what it was. Raises DifferenceResolved when one has said so before."""
        if self.resolution is Resolution.BY_HAND:
            raise DifferenceResolved()
        self.resolution, self.resolved_by, self.note = Resolution.BY_HAND, by, note
        self.resolved_at = clock.now()
