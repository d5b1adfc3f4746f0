"""Column types that mean the same on SQLite and Postgres."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, Enum, String, TypeDecorator
from sqlalchemy.types import TypeEngine

Id = String(36).with_variant(String(36, collation="C"), "postgresql")
"""A UUID as its canonical string; byte order, so that UUIDv7 ids sort by time on both databases."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: TIMESTAMPTZ on Postgres, UTC text on SQLite. Naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _utc(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """For SQLite the text at once: SQLAlchemy's own writes it field by field, which takes five times as long."""
        return _sqlite_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        return _of_sqlite if dialect.name == "sqlite" else super().result_processor(dialect, coltype)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("naive datetime")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _sqlite_text(value: datetime | None) -> str | None:
    return None if value is None else _utc(value).isoformat(" ", "microseconds")[:26]


def _of_sqlite(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored).replace(tzinfo=UTC)


class InstantText(TypeEngine[Any]):
    """For `type_coerce(column, InstantText())` of a UtcDateTime in the selects of hot lists, where instants only pass
    on to JSON: SQLite's text becomes RFC 3339 as text (making a datetime of it and text again costs ten times as much),
    Postgres's driver gives a datetime anyway."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _rfc3339_of_text if dialect.name == "sqlite" else None


def _rfc3339_of_text(stored: str | None) -> str | None:
    if stored is None:
        return None
    return f"{stored[:10]}T{stored[11:].removesuffix('.000000')}Z"


def enum_column(kind: type[StrEnum], length: int = 32) -> Any:
    """A StrEnum kept as its text, so that new states need no database change."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda e: [m.value for m in e],
    )
