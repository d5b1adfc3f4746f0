"""Keyset pages: newest first by UUIDv7, at a cost that does not grow with depth."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from common.ids import is_id

T = TypeVar("T")


class PageQuery(BaseModel):
    """`?limit=&cursor=`; lists with filters subclass it."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=200, description="next_cursor of the page before")

    @field_validator("cursor")
    @classmethod
    def _decodes(cls, value: str | None) -> str | None:
        if value is not None:
            decode_cursor(value)
        return value


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Up to `limit` items and, when there are more, the cursor of the next page."""

    items: Sequence[T]
    next_cursor: str | None


def encode_cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The id in a cursor; ValueError when it is not one of ours."""
    try:
        last_id = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError("not a cursor of this list") from None
    if not is_id(last_id):
        raise ValueError("not a cursor of this list")
    return last_id


def fetch_page(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    key: InstrumentedAttribute[str] | ColumnElement[str],
    query: PageQuery,
    *,
    scalars: bool = True,
) -> Page[Any]:
    """The page of `statement` that `query` asks for, newest first by `key` (a UUIDv7 column).

    `scalars=False` gives rows (Core selects of columns, which must name the key `id`) rather than objects.
    """
    if query.cursor is not None:
        statement = statement.where(key < decode_cursor(query.cursor))
    result = session.execute(statement.order_by(key.desc()).limit(query.limit + 1))
    rows: list[Any] = list(result.scalars() if scalars else result)
    items = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(items, encode_cursor(items[-1].id) if more else None)
