"""Settings of billing."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.settings import Settings as CommonSettings


class Tax(BaseModel):
    """A tax on the net sum of an invoice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]{0,15}$")
    name: str = Field(min_length=1, max_length=60)
    rate_percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)]


@dataclass(frozen=True, slots=True)
class DunningRules:
    """When an unpaid invoice costs the customer the service; never without a notice that old."""

    soft_bar_after: timedelta
    hard_bar_after: timedelta
    notice: timedelta
    remind_before: timedelta


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "billing"

    currency: str = Field(
        default="LKR", pattern=r"^[A-Z]{3}$", description="currency in which new accounts are billed"
    )
    taxes: tuple[Tax, ...] = Field(
        default=(),
        max_length=8,
        description='JSON, e.g. [{"code": "VAT", "name": "VAT", "rate_percent": "18"}]; none by default',
    )
    payment_days: int = Field(
        default=21, ge=0, le=365, description="days from the issue of a billing run's invoice until it is due"
    )
    dunning_reminder_days: int = Field(
        default=3,
        ge=0,
        le=365,
        description="days before the due date on which the customer is reminded; 0: never",
    )
    dunning_soft_bar_days: int = Field(
        default=14, ge=0, le=3650, description="days past due until the soft bar (outgoing services)"
    )
    dunning_hard_bar_days: int = Field(
        default=30, ge=0, le=3650, description="days past due until the hard bar (all services)"
    )
    dunning_notice_days: int = Field(
        default=7, ge=0, le=3650, description="least days from notice to soft bar, and from soft to hard bar"
    )

    @field_validator("taxes", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.dunning_hard_bar_days < self.dunning_soft_bar_days:
            raise ValueError("BILLING_DUNNING_HARD_BAR_DAYS must not be below BILLING_DUNNING_SOFT_BAR_DAYS")
        if len({tax.code for tax in self.taxes}) != len(self.taxes):
            raise ValueError("BILLING_TAXES names a code twice")
        return self

    @property
    def dunning(self) -> DunningRules:
        return DunningRules(
            soft_bar_after=timedelta(days=self.dunning_soft_bar_days),
            hard_bar_after=timedelta(days=self.dunning_hard_bar_days),
            notice=timedelta(days=self.dunning_notice_days),
            remind_before=timedelta(days=self.dunning_reminder_days),
        )
