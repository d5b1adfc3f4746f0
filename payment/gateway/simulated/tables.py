"""The simulated gateway's own records."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from payment.gateway import NoticeKind, Verdict
from payment.models import Base


class Behaviour(StrEnum):
    """How the bank behind a test card acts."""

    APPROVE = "approve"
    DECLINE = "decline"
    NO_FUNDS = "no_funds"
    ASK_OTP = "ask_otp"
    LOSE_ANSWER = "lose_answer"


class SimulatedToken(Base):
    """A card left with the gateway: what matters of it, not its number."""

    __tablename__ = "simulated_tokens"

    token: Mapped[str] = mapped_column(String(100), primary_key=True)
    behaviour: Mapped[Behaviour] = mapped_column(enum_column(Behaviour))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SimulatedCharge(Base):
    """A charge as the gateway knows it; a cancelled key without amount was given up before it arrived."""

    __tablename__ = "simulated_charges"
    __table_args__ = (CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within"),)

    key: Mapped[str] = mapped_column(Id, primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    verdict: Mapped[Verdict] = mapped_column(enum_column(Verdict))
    reason: Mapped[str | None] = mapped_column(String(50))
    refunded_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SimulatedRefund(Base):
    """A refund that was made."""

    __tablename__ = "simulated_refunds"

    key: Mapped[str] = mapped_column(Id, primary_key=True)
    charge_key: Mapped[str] = mapped_column(ForeignKey("simulated_charges.key"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SimulatedCallback(Base):
    """A callback that is still to be sent, not before `due_at`."""

    __tablename__ = "simulated_callbacks"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    kind: Mapped[NoticeKind] = mapped_column(enum_column(NoticeKind))
    key: Mapped[str] = mapped_column(Id)
    due_at: Mapped[datetime] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
