"""Requests and responses of staff."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from auth.models import AuditEntry, Role
from auth.schemas.accounts import UserOut
from common.db import PageQuery
from common.schemas import Body


class UserChangeIn(Body):
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=3)
    active: bool | None = None
    release_number: bool = Field(
        default=False,
        description="of a closed account: number, address and lines may be another's from now on",
    )


class UserQuery(PageQuery):
    query: str | None = Field(
        default=None, min_length=2, max_length=100, description="of phone, name or email"
    )


def _instant(value: datetime) -> datetime:
    if not 2000 <= value.year <= 2200:
        raise ValueError("must be between 2000 and 2200")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


Instant = Annotated[datetime, AfterValidator(_instant)]


class AuditQuery(PageQuery):
    user_id: str | None = Field(default=None, max_length=200)
    action: str | None = Field(default=None, max_length=100)
    since: Instant | None = Field(default=None, alias="from", description="recorded at or after")
    until: Instant | None = Field(default=None, alias="to", description="recorded before")


class ActingOut(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 -- the scheme (RFC 6750), not a secret
    expires_in: int
    user: UserOut


class AuditEntryOut(BaseModel):
    id: str
    seq: int | None
    action: str
    source: str
    user_id: str
    actor_id: str | None
    ip: str | None
    happened_at: datetime
    recorded_at: datetime
    correlation_id: str
    data: dict[str, Any]
    hash: str | None

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        return cls.model_validate(entry, from_attributes=True)


class VerifyQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    from_seq: int = Field(default=1, ge=1, le=2**63 - 1, description="the first entry to check")
    limit: int = Field(default=10_000, ge=1, le=50_000, description="entries to check")


class VerdictOut(BaseModel):
    valid: bool = Field(description="whether the checked entries hold; all of them once `next_seq` is null")
    entries: int = Field(description="how many hold")
    first_seq: int = Field(description="the first that was checked")
    last_seq: int = Field(description="the chain's last")
    last_hash: str
    broken_at: int | None
    reason: str | None
    next_seq: int | None = Field(description="`from_seq` of the next stretch, when this was not the last")
