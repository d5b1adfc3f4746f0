"""The audit trail: rows that are only ever added, each holding the hash of the one before."""

import hashlib
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from auth.models.base import Base
from common import clock, ids
from common.db import Id

FIRST_HASH = "0" * 64
"""What the first entry has in the place of a predecessor's hash."""


class AuditEntry(Base):
    """What happened on the platform. Secrets are left out of `data`; the database refuses changes and deletions."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_user_id_id", "user_id", "id"),
        Index("ix_audit_log_actor_id_id", "actor_id", "id"),
        Index("ix_audit_log_action_id", "action", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    seq: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    event_id: Mapped[str] = mapped_column(String(100), unique=True)
    action: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(50))
    user_id: Mapped[str] = mapped_column(String(200))
    actor_id: Mapped[str | None] = mapped_column(String(36))
    ip: Mapped[str | None] = mapped_column(String(45))
    happened_at: Mapped[datetime] = mapped_column(index=True)
    recorded_at: Mapped[datetime] = mapped_column(default=clock.now)
    correlation_id: Mapped[str] = mapped_column(String(200))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))

    def content(self) -> dict[str, Any]:
        """All that the hash vouches for, as it stands in an archive too."""
        return chained_content({name: getattr(self, name) for name in CHAINED})


CHAINED = (
    "id",
    "seq",
    "event_id",
    "action",
    "source",
    "user_id",
    "actor_id",
    "ip",
    "happened_at",
    "recorded_at",
    "correlation_id",
    "data",
    "previous_hash",
)
"""The columns whose values the hash vouches for."""


def chained_content(values: dict[str, Any]) -> dict[str, Any]:
    """A row's values as they are hashed and archived: instants as text."""
    instants = {name: clock.rfc3339(values[name]) for name in ("happened_at", "recorded_at")}
    return values | instants


def chain_hash(content: dict[str, Any]) -> str:
    """SHA-256 of an entry's content, which names its predecessor's hash, as canonical JSON."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


class AuditHead(Base):
    """The last link of the chain, in one row: whoever adds a link holds it until commit."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


class AuditArchive(Base):
    """A stretch of the chain that was moved to a file: the only entries that the database lets go."""

    __tablename__ = "audit_archives"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    month: Mapped[str] = mapped_column(String(7))
    file: Mapped[str] = mapped_column(String(100), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    first_seq: Mapped[int] = mapped_column(BigInteger)
    last_seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    previous_hash: Mapped[str] = mapped_column(String(64))
    last_hash: Mapped[str] = mapped_column(String(64))
    archived_at: Mapped[datetime] = mapped_column(default=clock.now)
