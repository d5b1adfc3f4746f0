"""Sessions and their refresh tokens."""

from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auth.models.accounts import User
from auth.models.base import Base
from common import clock, ids
from common.db import Id


class LoginSession(Base):
    """One sign-in on one device: a family of refresh tokens that live and die together. `proved_at` is when its user
    last showed who they are, by a password or a factor: refreshing does not."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    client: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(300))
    ip: Mapped[str] = mapped_column(String(45))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    last_used_at: Mapped[datetime] = mapped_column(default=clock.now)
    revoked_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    def revoke(self) -> bool:
        """Whether this ended it now (False: it had ended before)."""
        if self.revoked_at is not None:
            return False
        self.revoked_at = clock.now()
        return True


class RefreshToken(Base):
    """A refresh token by its hash; `spent_at` once it has been exchanged."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    spent_at: Mapped[datetime | None]

    session: Mapped[LoginSession] = relationship()

    def within_grace(self, grace: timedelta) -> bool:
        """Whether the answer to its exchange may still be on its way."""
        return self.spent_at is not None and clock.now() - self.spent_at <= grace
