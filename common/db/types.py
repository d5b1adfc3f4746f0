"""Column types that mean the same on SQLite and Postgres."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, Enum, String, TypeDecorator

Id = String(36).with_variant(String(36, collation="C"), "postgresql")
"""A UUID as its canonical string; byte order, so that UUIDv7 ids sort by time on both databases."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: TIMESTAMPTZ on Postgres, UTC text on SQLite. Naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def enum_column(kind: type[StrEnum], length: int = 32) -> Any:
    """A StrEnum kept as its text, so that new states need no database change."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda e: [m.value for m in e],
    )
