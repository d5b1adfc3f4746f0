"""Second factors and passkeys."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auth.models.accounts import User
from auth.models.base import Base
from common import clock, ids
from common.db import Id


class Totp(Base):
    """A user's authenticator app; in force once `confirmed_at` is set. The secret is sealed."""

    __tablename__ = "totp"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class RecoveryCode(Base):
    """A code for when the app is lost, good once; by its keyed hash."""

    __tablename__ = "recovery_codes"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    spent_at: Mapped[datetime | None]


class MfaChallenge(Base):
    """The state between a right password and the second factor; the token by its hash."""

    __tablename__ = "mfa_challenges"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    tries_left: Mapped[int] = mapped_column(Integer)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship()


class Passkey(Base):
    """A WebAuthn credential; `credential_id` as base64url."""

    __tablename__ = "passkeys"
    __table_args__ = (Index("ix_passkeys_user_id_id", "user_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    credential_id: Mapped[str] = mapped_column(String(1400), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(100))
    backed_up: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    last_used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()


class Ceremony(Base):
    """A WebAuthn challenge that waits for its answer, once. `user_id` is null for a sign-in."""

    __tablename__ = "ceremonies"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    challenge: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(index=True)
