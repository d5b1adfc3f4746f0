"""What users choose."""

from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from common.schemas import Body
from notification import rendering
from notification.models import (
    Category,
    Channel,
    Language,
    Preference,
)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a timezone like Asia/Colombo") from None
    return name


Zone = Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z0-9_+/-]+$"), AfterValidator(_zone)]
ClockTime = Annotated[str, StringConstraints(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class ChannelsIn(Body):
    """Channels that are left out stay as they are."""

    in_app: bool | None = None
    email: bool | None = None
    sms: bool | None = None
    push: bool | None = None
    webhook: bool | None = None


class QuietHours(Body):
    """Wall-clock times; a start after the end spans midnight. Messages wait until the end; security codes do not."""

    start: ClockTime = Field(examples=["22:00"])
    end: ClockTime = Field(examples=["07:00"])
    timezone: Zone = Field(default="Asia/Colombo")

    @model_validator(mode="after")
    def _not_always(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end must differ")
        return self


class PreferencesIn(Body):
    """What is left out stays as it is; `quiet_hours: null` ends them. `security` and `statutory` cannot be switched
    off."""

    language: Language | None = Field(default=None, strict=False)
    categories: dict[Annotated[Category, Field(strict=False)], ChannelsIn] = Field(
        default_factory=dict, examples=[{"orders": {"sms": False}}]
    )
    quiet_hours: QuietHours | None = None


class PreferencesOut(BaseModel):
    language: Language
    categories: dict[Category, dict[str, bool]] = Field(examples=[{"orders": {"sms": False, "email": True}}])
    quiet_hours: QuietHours | None

    @classmethod
    def of(cls, preference: Preference, profile: Language) -> Self:
        return cls(
            language=preference.language or profile,
            categories={
                category: {
                    channel: preference.allows(category, channel)
                    for channel in (rendering.IN_APP, *(each.value for each in Channel))
                }
                for category in Category
            },
            quiet_hours=QuietHours(
                start=preference.quiet_from, end=preference.quiet_until, timezone=preference.timezone
            )
            if preference.quiet_from is not None and preference.quiet_until is not None
            else None,
        )


class UnsubscribeQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=64)
    category: Category


class UnsubscribedOut(BaseModel):
    category: Category
    email: bool
