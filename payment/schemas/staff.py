"""What staff look after: cases and reconciliations."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from common.db import PageQuery
from common.money import Money
from common.schemas import Body
from payment.models import (
    Case,
    CaseKind,
    CaseState,
    Difference,
    DifferenceKind,
    LineKind,
    Reconciliation,
    ReconciliationState,
    Resolution,
)


class CaseAction(StrEnum):
    NOTED = "noted"
    RETRY_REFUND = "retry_refund"
    PAID_BY_HAND = "paid_by_hand"


class ResolveIn(Body):
    action: Annotated[CaseAction, Field(strict=False)]
    note: str = Field(min_length=1, max_length=500)


class CaseOut(BaseModel):
    id: str
    kind: CaseKind
    state: CaseState
    payment_id: str
    subject_id: str = Field(description="the payment or refund that it is about")
    detail: str
    note: str | None
    resolved_by: str | None
    created_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, case: Case) -> Self:
        return cls(
            id=case.id,
            kind=case.kind,
            state=case.state,
            payment_id=case.payment_id,
            subject_id=case.subject_id,
            detail=case.detail,
            note=case.note,
            resolved_by=case.resolved_by,
            created_at=case.created_at,
            resolved_at=case.resolved_at,
        )


Day = Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2100, 1, 1))]


class ReconciliationQuery(BaseModel):
    model_config = PageQuery.model_config

    gateway: str = Field(min_length=1, max_length=30)
    from_on: Day = Field(description="first day of the settlement, as the operator counts days")
    to_on: Day = Field(description="last day")

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.to_on < self.from_on:
            raise ValueError("to_on is before from_on")
        return self


class ReconciliationOut(BaseModel):
    id: str
    gateway: str
    from_on: date
    to_on: date
    state: ReconciliationState
    lines: int
    compared: int = Field(description="of the lines")
    matched: int
    differences: dict[str, int] = Field(description="how many of each kind so far")
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, run: Reconciliation, differences: dict[str, int] | None = None) -> Self:
        return cls(
            id=run.id,
            gateway=run.gateway,
            from_on=run.from_on,
            to_on=run.to_on,
            state=run.state,
            lines=run.lines,
            compared=run.line,
            matched=run.matched,
            differences=differences or {},
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class NoteIn(Body):
    note: str = Field(min_length=1, max_length=500)


class DifferenceOut(BaseModel):
    id: str
    kind: DifferenceKind
    subject: LineKind
    key: str = Field(description="the payment's or refund's id")
    ours: Money | None
    theirs: Money | None
    resolution: Resolution
    note: str | None
    resolved_at: datetime | None

    @classmethod
    def of(cls, difference: Difference) -> Self:
        def money(minor: int | None) -> Money | None:
            return None if minor is None else Money(amount_minor=minor, currency=difference.currency)

        return cls(
            id=difference.id,
            kind=difference.kind,
            subject=difference.subject,
            key=difference.key,
            ours=money(difference.ours_minor),
            theirs=money(difference.theirs_minor),
            resolution=difference.resolution,
            note=difference.note,
            resolved_at=difference.resolved_at,
        )
