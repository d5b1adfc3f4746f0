"""Usage, as it comes and as it is shown."""

from datetime import date, datetime, timedelta
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from billing.models import HOME
from billing.models.tariffs import MAX_QUANTITY, Kind, Zone
from billing.schemas.shared import CustomerQuery, Day, UserId
from common import clock
from common.money import Money
from common.schemas import Body


class UsageRecordIn(Body):
    record_id: str = Field(pattern=r"^[\x21-\x7e]{1,64}$", description="the network's own id: counts once")
    user_id: UserId
    kind: Kind
    zone: Zone = HOME
    quantity: int = Field(ge=1, le=MAX_QUANTITY)
    occurred_at: datetime

    @field_validator("occurred_at")
    @classmethod
    def _plausible(cls, at: datetime) -> datetime:
        if at.tzinfo is None:
            raise ValueError("must have a time zone")
        if not at.year >= 2000 or at > clock.now() + timedelta(days=1):
            raise ValueError("must not lie in the future")
        return at


class UsageIn(Body):
    """JSON, or one record a line (`application/x-ndjson`)."""

    NDJSON: ClassVar[str] = "records"

    records: list[UsageRecordIn] = Field(min_length=1, max_length=50_000)


class UsageRatedOut(BaseModel):
    accepted: int = Field(description="new records, kept and rated")
    duplicates: int = Field(description="known by their id: nothing changed")
    unrated: int = Field(description="of the accepted, those that no subscription or allowance covers: free")
    unknown_users: list[str] = Field(
        description="ids of records left out: send them again once the account exists"
    )
    implausible: list[str] = Field(
        description="ids of records left out: they cost more than an invoice can say, so what they say is wrong"
    )


class UsageQuery(CustomerQuery):
    """Both days included; by default this month until today."""

    from_day: Day | None = Field(default=None, alias="from")
    to_day: Day | None = Field(default=None, alias="to")

    @property
    def days(self) -> tuple[date, date]:
        last = self.to_day or clock.today()
        return self.from_day or last.replace(day=1), last

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        first, last = self.days
        if not timedelta(0) <= last - first <= timedelta(days=366):
            raise ValueError("from must not lie after to, nor more than a year before it")
        return self


class UsageItemOut(BaseModel):
    kind: str
    zone: str
    records: int
    quantity: int
    charged: Money


class AllowanceOut(BaseModel):
    source: Literal["plan", "service"]
    name: str
    kind: str
    zone: str | None = Field(description="null for a service's: its kind says it")
    granted: int
    used: int
    percent: int
    until: datetime | None
    service_id: str | None


class UsageOut(BaseModel):
    from_day: date = Field(serialization_alias="from")
    to_day: date = Field(serialization_alias="to")
    items: list[UsageItemOut]
    allowances: list[AllowanceOut] = Field(description="what is left now")
