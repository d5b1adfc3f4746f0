"""Billing runs and dunning runs."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Self

from pydantic import BaseModel, Field
from sqlalchemy import Row

from billing.models import BillingRun, DunningRun, RunState
from billing.schemas.shared import PERIOD, SumOut
from common.schemas import Body

Sums = tuple[int, int, int, Mapping[str | None, int]]
"""`use_cases.billing_runs.Progress`."""


class DunningRunOut(BaseModel):
    id: str
    state: RunState
    as_of: date
    accounts: int = Field(description="accounts looked at so far")
    failed: int = Field(description="accounts among them that could not be dunned; the next run tries again")
    reminders: int
    invoices_overdue: int
    soft_barred: int
    hard_barred: int
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, run: DunningRun) -> Self:
        return cls(
            id=run.id,
            state=run.state,
            as_of=run.as_of,
            accounts=run.accounts,
            failed=run.failed,
            reminders=run.reminders,
            invoices_overdue=run.invoices_overdue,
            soft_barred=run.soft_barred,
            hard_barred=run.hard_barred,
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class BillingRunIn(Body):
    period: str = Field(pattern=PERIOD, description="a month that has begun, e.g. 2026-11")


class BillingRunOut(BaseModel):
    id: str
    period: str
    state: RunState
    accounts: int = Field(description="accounts done so far")
    failed: int = Field(description="accounts that could not be billed yet; they are tried again")
    invoices: int
    total: SumOut = Field(description="of the invoices in the currency of new accounts")
    totals: list[SumOut] = Field(description="of the invoices in each currency")
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, run: BillingRun, sums: Sums, currency: str) -> Self:
        accounts, failed, invoices, of_slices = sums
        totals = {currency: 0}
        for of_currency, total_minor in of_slices.items():
            code = of_currency or currency
            totals[code] = totals.get(code, 0) + total_minor
        return cls(
            id=run.id,
            period=run.period,
            state=run.state,
            accounts=accounts,
            failed=failed,
            invoices=invoices,
            total=SumOut(amount_minor=totals[currency], currency=currency),
            totals=[SumOut(amount_minor=amount, currency=code) for code, amount in totals.items()],
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class BillingFailureOut(BaseModel):
    id: str
    account_number: str
    user_id: str
    reason: str = Field(description="what kind of error it was; the log says more")
    failures: int = Field(description="how often it has been tried in vain")
    retry_at: datetime

    @classmethod
    def of(cls, failure: Row[Any]) -> Self:
        return cls.model_validate(failure._mapping)
