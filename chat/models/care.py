"""Agents at work, and the texts that they keep ready."""

from datetime import datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from chat.models.base import Base
from chat.models.conversations import TEAM_LENGTH, User
from common import clock, ids
from common.db import Id

SHORTCUT_LENGTH = 50
CAPACITY_AT_MOST = 50


class Agent(Base):
    """An agent's readiness. Whoever gives an agent a conversation holds this row's lock, so capacity holds."""

    __tablename__ = "agents"
    __table_args__ = (Index("ix_agents_available_seen_at", "available", "seen_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    available: Mapped[bool] = mapped_column(default=False)
    capacity: Mapped[int] = mapped_column(Integer)
    team: Mapped[str | None] = mapped_column(String(TEAM_LENGTH))
    given_at: Mapped[datetime] = mapped_column(default=clock.now)
    """When a conversation was last given: of two with room the one whose turn is longer ago is next."""
    seen_at: Mapped[datetime] = mapped_column(default=clock.now)

    user: Mapped[User | None] = relationship(primaryjoin="foreign(Agent.id) == User.id", viewonly=True)


class CannedResponse(Base):
    """A text that agents send often."""

    __tablename__ = "canned_responses"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    shortcut: Mapped[str] = mapped_column(String(SHORTCUT_LENGTH), unique=True)
    language: Mapped[str] = mapped_column(String(2))
    body: Mapped[str] = mapped_column(Text)
    updated_by: Mapped[str] = mapped_column(Id)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now)
