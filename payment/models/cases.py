"""What a person has to look at."""

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from payment.errors import CaseResolved
from payment.models.base import Base
from payment.models.payments import CaseKind, CaseState


class Case(Base):
    """Money that the machinery cannot put right alone, or did and a person should know; one per kind and subject."""

    __tablename__ = "cases"
    __table_args__ = (UniqueConstraint("subject_id", "kind"), Index("ix_cases_state_id", "state", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    kind: Mapped[CaseKind] = mapped_column(enum_column(CaseKind))
    payment_id: Mapped[str] = mapped_column(Id)
    subject_id: Mapped[str] = mapped_column(Id)
    detail: Mapped[str] = mapped_column(String(200))
    state: Mapped[CaseState] = mapped_column(enum_column(CaseState))
    note: Mapped[str | None] = mapped_column(String(500))
    resolved_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    resolved_at: Mapped[datetime | None]

    def resolve(self, *, by: str, note: str) -> None:
        """Raises CaseResolved."""
        if self.state is not CaseState.OPEN:
            raise CaseResolved()
        self.state, self.resolved_by, self.note = CaseState.RESOLVED, by, note
        self.resolved_at = clock.now()

    def reopen(self, detail: str) -> None:
        """It happened again."""
        self.state, self.detail = CaseState.OPEN, detail[:200]
