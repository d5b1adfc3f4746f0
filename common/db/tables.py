"""Bases of all tables, and the tables that every service's database has for the platform's mechanisms."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, Integer, LargeBinary, MetaData, String, Text, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column, object_session

from common import clock, ids
from common.db.types import Id, UtcDateTime
from common.db.wake import OUTBOX, wake

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class ModelBase:
    """What the tables of all services have in common. Each service makes its own
    `class Base(ModelBase, DeclarativeBase): metadata = service_metadata()`."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime}


def service_metadata() -> MetaData:
    """Fresh metadata with the platform's constraint names (Alembic needs them to be known)."""
    return MetaData(naming_convention=NAMING)


class PlatformBase(ModelBase, DeclarativeBase):
    """The tables of this module; they live in every service's own database and in its migrations."""

    metadata = service_metadata()


class Outbox(PlatformBase):
    """An event that waits to be published, or was. `body` is the CloudEvents document as it goes out."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_pending",
            "id",
            postgresql_where=text("published_at IS NULL"),
            sqlite_where=text("published_at IS NULL"),
        ),
        # Partial too: else it is chosen for the pending rows, and a long backlog is sorted anew for each batch.
        Index(
            "ix_outbox_published_at",
            "published_at",
            postgresql_where=text("published_at IS NOT NULL"),
            sqlite_where=text("published_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    type: Mapped[str] = mapped_column(String(100))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    published_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(String(300))


class Inbox(PlatformBase):
    """An event that a queue's consumer has handled: the key decides who was first."""

    __tablename__ = "inbox"

    consumer: Mapped[str] = mapped_column(String(100), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    handled_at: Mapped[datetime] = mapped_column(default=clock.now, index=True)


class IdempotencyKey(PlatformBase):
    """A claim on an Idempotency-Key and, once the work is done, its answer (encrypted: it may hold tokens)."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    work_id: Mapped[str] = mapped_column(Id, default=ids.new_id)
    fingerprint: Mapped[str] = mapped_column(String(64))
    locked_until: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=clock.now, index=True)


class Revocation(PlatformBase):
    """A session or a user whose tokens, issued up to `revoked_at`, are refused until they expire anyway."""

    __tablename__ = "revocations"

    subject: Mapped[str] = mapped_column(String(80), primary_key=True)
    revoked_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    recorded_at: Mapped[datetime] = mapped_column(index=True)


class SigningKey(PlatformBase):
    """A public key of auth as last fetched, so that a restart while auth is away still verifies tokens."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(100), primary_key=True)
    jwk: Mapped[str] = mapped_column(Text)
    fetched_at: Mapped[datetime] = mapped_column(default=clock.now)


class Heartbeat(PlatformBase):
    """When a worker process last said that it is alive and whether it then had the broker."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    beaten_at: Mapped[datetime]
    broker_connected: Mapped[bool]


@event.listens_for(Outbox, "after_insert")
def _wake_relay(_mapper: Mapper[Any], _connection: Any, row: Outbox) -> None:
    session = object_session(row)
    if session is not None:
        wake(session, OUTBOX)
