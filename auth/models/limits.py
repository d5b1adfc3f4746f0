"""Counters of attempts, shared by all processes and kept over restarts."""

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from auth.models.base import Base


class Attempts(Base):
    """How often something was tried; `key` holds a hash, never the number or address itself. No index but its key: each
    attempt is an update, which Postgres does in place (HOT) when no index has what is changed."""

    __tablename__ = "attempts"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    blocked_until: Mapped[datetime | None]
    expires_at: Mapped[datetime]
