"""Who is in which conversation, at which chat process."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from chat.models.base import Base
from common.db import Id


class Process(Base):
    """A chat process with clients. It is alive while `seen_at` is recent; the people of one that is not have gone."""

    __tablename__ = "processes"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    seen_at: Mapped[datetime]
    changes: Mapped[int] = mapped_column(Integer)
    """Moves with its attendances, so that the other processes need to read them only then."""


class Attendance(Base):
    """A user is in a conversation by at least one connection to a process. Only that process writes it."""

    __tablename__ = "attendances"

    conversation_id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    process_id: Mapped[str] = mapped_column(
        ForeignKey("processes.id", ondelete="CASCADE"), primary_key=True, index=True
    )
