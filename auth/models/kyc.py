"""Know your customer: what a user submits to be identified, and what became of it."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Date, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auth.models.accounts import User
from auth.models.base import Base
from common import clock, ids
from common.db import Id, enum_column
from common.errors import Conflict


class KycState(StrEnum):
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"


class KycSubmission(Base):
    """One submission; a user may try again after a rejection."""

    __tablename__ = "kyc_submissions"
    __table_args__ = (
        Index("ix_kyc_submissions_user_id_id", "user_id", "id"),
        Index("ix_kyc_submissions_state_id", "state", "id"),
        Index("ix_kyc_submissions_nic", "nic"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    state: Mapped[KycState] = mapped_column(enum_column(KycState))
    nic: Mapped[str] = mapped_column(String(12))
    full_name: Mapped[str] = mapped_column(String(200))
    date_of_birth: Mapped[date] = mapped_column(Date)
    submitted_at: Mapped[datetime] = mapped_column(default=clock.now)
    reviewed_at: Mapped[datetime | None]
    reviewer_id: Mapped[str | None] = mapped_column(Id)
    reason: Mapped[str | None] = mapped_column(String(500))

    user: Mapped[User] = relationship()
    documents: Mapped[list["KycDocument"]] = relationship(order_by="KycDocument.id")

    def review(self, state: KycState, reviewer_id: str, reason: str | None) -> None:
        """Decide. Raises Conflict when it has been decided."""
        if self.state is not KycState.SUBMITTED:
            raise Conflict(f"This submission is {self.state.value} already")
        self.state, self.reviewer_id, self.reason, self.reviewed_at = state, reviewer_id, reason, clock.now()


class KycDocument(Base):
    """An uploaded picture or PDF. Its file's name is its id; the client's own name is kept for show only."""

    __tablename__ = "kyc_documents"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    submission_id: Mapped[str] = mapped_column(ForeignKey("kyc_submissions.id"), index=True)
    media_type: Mapped[str] = mapped_column(String(50))
    size: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(64))
    uploaded_name: Mapped[str] = mapped_column(String(200))
