"""Saved cards: what stands for them at their gateway, never their numbers."""

from datetime import datetime

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from payment.models.base import Base
from payment.models.payments import MethodState

_REMOVING = text("state = 'removing'")


class SavedMethod(Base):
    """A card left at a gateway. `pending` until the payment that saves it is captured; `removing` until the gateway
    has forgotten it."""

    __tablename__ = "saved_methods"
    __table_args__ = (
        Index("ix_saved_methods_user_id_id", "user_id", "id"),
        Index("ix_saved_methods_removing", "id", postgresql_where=_REMOVING, sqlite_where=_REMOVING),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    gateway: Mapped[str] = mapped_column(String(30))
    token: Mapped[str | None] = mapped_column(String(100))
    brand: Mapped[str] = mapped_column(String(20))
    last4: Mapped[str] = mapped_column(String(4))
    exp_month: Mapped[int]
    exp_year: Mapped[int]
    state: Mapped[MethodState] = mapped_column(enum_column(MethodState))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    @property
    def expired(self) -> bool:
        today = clock.today()
        return (self.exp_year, self.exp_month) < (today.year, today.month)


class CardLeft(Base):
    """A card that is being left at a gateway under our key, until a payment or a saved method stands for it. What a
    request that died or was refused has left behind is dropped at the gateway by the worker."""

    __tablename__ = "cards_left"

    key: Mapped[str] = mapped_column(Id, primary_key=True)
    gateway: Mapped[str] = mapped_column(String(30))
    left_at: Mapped[datetime] = mapped_column(default=clock.now)
