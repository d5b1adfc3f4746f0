"""Broadcasts of the operator."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from common.ids import is_id
from common.schemas import Body
from notification.models import Broadcast, BroadcastState, Category, Language

Title = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


def _id(value: str) -> str:
    if not is_id(value):
        raise ValueError("not an id")
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must say its offset from UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("too far away") from None


class WordsIn(Body):
    title: Title
    body: str = Field(min_length=1, max_length=2000)
    sms: str | None = Field(default=None, min_length=1, max_length=480, description="the words of the SMS")

    @property
    def parts(self) -> dict[str, str]:
        return self.model_dump(exclude_none=True)


class TextsIn(Body):
    """As they are written: nothing is filled in."""

    en: WordsIn
    si: WordsIn
    ta: WordsIn

    def by_language(self) -> dict[str, dict[str, str]]:
        return {language: words.parts for language, words in self}


class SegmentIn(Body):
    """Those who are in all of it; without any of it everybody."""

    languages: list[Annotated[Language, Field(strict=False)]] = Field(
        default_factory=list, max_length=3, description="readers of these"
    )
    user_ids: list[Annotated[str, AfterValidator(_id)]] | None = Field(
        default=None, min_length=1, max_length=20_000
    )
    barred: bool | None = Field(default=None, description="whose account is barred, or is not")
    holding: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        default_factory=list,
        max_length=20,
        description="who have an active service of one of these offerings, by code",
        examples=[["data-10gb"]],
    )


class BroadcastIn(Body):
    category: Literal["marketing", "account", "statutory"]
    channels: list[Literal["in_app", "email", "sms", "push"]] = Field(min_length=1, max_length=4)
    texts: TextsIn
    segment: SegmentIn = Field(default_factory=SegmentIn)
    starts_at: Annotated[datetime, Field(strict=False), AfterValidator(_in_utc)] | None = Field(
        default=None, description="now, when it is left out or past"
    )
    per_minute: int = Field(default=30_000, ge=1, le=100_000, description="customers gone through a minute")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("a channel is named twice")
        if "sms" in self.channels and not all(words.sms for _, words in self.texts):
            raise ValueError("an SMS needs its words in each language")
        return self


class BroadcastOut(BaseModel):
    id: str
    state: BroadcastState
    category: Category
    channels: list[str]
    languages: list[str]
    barred: bool | None
    holding: list[str]
    texts: dict[str, dict[str, str]]
    starts_at: datetime
    per_minute: int
    passed: int = Field(description="customers gone through")
    told: int = Field(description="those of them who got it by some channel")
    author_id: str
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, broadcast: Broadcast) -> Self:
        return cls(**{name: getattr(broadcast, name) for name in BroadcastOut.model_fields})


class BroadcastProgressOut(BroadcastOut):
    total: int = Field(description="customers to go through")
    deliveries: dict[str, dict[str, int]] = Field(
        description="channel → state → messages", examples=[{"sms": {"sent": 970, "created": 30}}]
    )

    @classmethod
    def with_progress(cls, broadcast: Broadcast, total: int, deliveries: dict[str, dict[str, int]]) -> Self:
        shown = {name: getattr(broadcast, name) for name in BroadcastOut.model_fields}
        return cls(**shown, total=total, deliveries=deliveries)
