"""One-time codes."""

import hmac
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from auth.models.base import Base
from common import clock, ids
from common.db import Id, enum_column


class Purpose(StrEnum):
    """What a code is good for."""

    PHONE_VERIFICATION = "phone_verification"
    EMAIL_VERIFICATION = "email_verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105 -- a purpose, not a secret
    LINE_VERIFICATION = "line_verification"
    PHONE_CHANGE = "phone_change"


class Channel(StrEnum):
    SMS = "sms"
    EMAIL = "email"


class Code(Base):
    """A six-digit code by its keyed hash. `user_id` is null for a reset of an account that nobody has: the row is
    there all the same, so that an unknown number takes the same path as a known one."""

    __tablename__ = "codes"
    __table_args__ = (Index("ix_codes_target_purpose_id", "target", "purpose", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    purpose: Mapped[Purpose] = mapped_column(enum_column(Purpose))
    target: Mapped[str] = mapped_column(String(254))
    hash: Mapped[str] = mapped_column(String(64))
    tries_left: Mapped[int] = mapped_column(Integer)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    spent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def guess(self, digest: str) -> bool:
        """Whether this is the code. A right guess spends it, a wrong one costs a try; with none left it is dead."""
        if self.spent_at is not None or self.tries_left <= 0 or self.expires_at <= clock.now():
            return False
        self.tries_left -= 1
        if not hmac.compare_digest(self.hash, digest):
            return False
        self.spent_at = clock.now()
        return True
