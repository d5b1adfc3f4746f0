"""Settings of billing."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from billing.models import AccountKind
from common.settings import Settings as CommonSettings


class Tax(BaseModel):
    """A tax on the net sum of an invoice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]{0,15}$")
    name: str = Field(min_length=1, max_length=60)
    rate_percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)]
    on: tuple[str, ...] = Field(default=(), description="codes of taxes before it that are taxed along")


@dataclass(frozen=True, slots=True)
class BillingTerms:
    """What a billing run adds to what is due, and how long it may take to be paid."""

    taxes: tuple[Tax, ...]
    payment_days: int


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
    account_kind: AccountKind = Field(
        default=AccountKind.POSTPAID, description="prepaid or postpaid: what new accounts are"
    )
    operator_name: str = Field(default="Sri-Care Telecom", max_length=100, description="as invoices show it")
    operator_address: str = Field(
        default="", max_length=300, description="on invoices; lines are divided by |"
    )
    operator_tax_number: str = Field(default="", max_length=60, description="on invoices")
    operator_logo: Path | None = Field(default=None, description="SVG file for invoices")
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

    @field_validator("operator_logo")
    @classmethod
    def _is_image(cls, path: Path | None) -> Path | None:
        if path is not None and (path.suffix.lower() != ".svg" or not path.is_file()):
            raise ValueError("must name an SVG file")
        return path

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
        before: set[str] = set()
        for tax in self.taxes:
            if not before.issuperset(tax.on):
                raise ValueError(f"BILLING_TAXES: {tax.code} is on a tax that does not stand before it")
            before.add(tax.code)
        return self

    @property
    def billing_terms(self) -> BillingTerms:
        return BillingTerms(taxes=self.taxes, payment_days=self.payment_days)

    @property
    def dunning(self) -> DunningRules:
        return DunningRules(
            soft_bar_after=timedelta(days=self.dunning_soft_bar_days),
            hard_bar_after=timedelta(days=self.dunning_hard_bar_days),
            notice=timedelta(days=self.dunning_notice_days),
            remind_before=timedelta(days=self.dunning_reminder_days),
        )
