"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by the time at which they were made."""

import re
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils import uuid7

UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LAST_MS = 253_402_300_799_000
_UUID = re.compile(UUID_PATTERN)


def new_id() -> str:
    """A new UUIDv7 in its canonical lower-case form."""
    return str(uuid7())


def is_id(value: str) -> bool:
    """Whether a string has the canonical form of a UUID (any version)."""
    return _UUID.fullmatch(value) is not None


def made_at(value: str) -> datetime | None:
    """The instant (ms precision) at which a UUIDv7 was made; None for any other UUID, and for one of after 9999."""
    parsed = UUID(value)
    milliseconds = parsed.int >> 80
    if parsed.version != 7 or milliseconds > _LAST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
