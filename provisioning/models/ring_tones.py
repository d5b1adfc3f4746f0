"""The ring-back tones that there are."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from provisioning.models.base import Base


class ToneState(StrEnum):
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"


class RingTone(Base):
    """A tone by its code. A withdrawn one is chosen no more; services that have it keep it."""

    __tablename__ = "ring_tones"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(120))
    artist: Mapped[str] = mapped_column(String(120))
    genre: Mapped[str] = mapped_column(String(40), index=True)
    state: Mapped[ToneState] = mapped_column(enum_column(ToneState), default=ToneState.ACTIVE)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)
