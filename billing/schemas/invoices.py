"""Invoices, and what corrects them."""

from datetime import date, datetime
from typing import Annotated, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from billing.models import CreditNote, Dispute, DisputeState, Invoice, InvoiceState
from billing.schemas.shared import MAX_SUBTOTAL_MINOR, PERIOD, Day, Description, Text, UserId, printable
from common.db import PageQuery
from common.money import Money, PositiveMoney
from common.schemas import Body


class InvoicesQuery(PageQuery):
    """`from` and `to` are days of issue, both included."""

    user_id: UserId | None = None
    state: InvoiceState | None = None
    issued_from: date | None = Field(default=None, alias="from")
    issued_to: date | None = Field(default=None, alias="to")


class PdfQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    language: Literal["en", "si", "ta"] | None = None


class LineIn(Body):
    description: Description
    quantity: int = Field(default=1, ge=1, le=1_000_000)
    unit_price: PositiveMoney


class InvoiceIn(Body):
    user_id: UserId
    lines: list[LineIn] = Field(min_length=1, max_length=100)
    due_on: Day
    period: str | None = Field(default=None, pattern=PERIOD, description="the month billed, e.g. 2026-11")

    @field_validator("lines")
    @classmethod
    def _one_currency(cls, lines: list[LineIn]) -> list[LineIn]:
        if len({line.unit_price.currency for line in lines}) > 1:
            raise ValueError("all lines must be in one currency")
        return lines

    @model_validator(mode="after")
    def _not_too_much(self) -> Self:
        if sum(line.quantity * line.unit_price.amount_minor for line in self.lines) > MAX_SUBTOTAL_MINOR:
            raise ValueError(f"the lines must not sum up to more than {MAX_SUBTOTAL_MINOR} minor units")
        return self


class LineOut(BaseModel):
    description: str
    quantity: int
    unit_price: Money
    amount: Money


class TaxLineOut(BaseModel):
    code: str
    name: str
    rate_percent: str = Field(examples=["18"])
    amount: Money


class InvoiceOut(BaseModel):
    """`queries.list_invoices` answers the same without these models: change both."""

    id: str
    number: str | None = Field(examples=["INV-2026-000042"])
    user_id: str
    account_number: str
    state: InvoiceState
    period: str | None
    lines: list[LineOut]
    tax_lines: list[TaxLineOut]
    subtotal: Money
    total: Money
    amount_paid: Money
    amount_credited: Money = Field(description="taken off by credit notes")
    amount_due: Money
    due_on: date
    issued_at: datetime | None
    paid_at: datetime | None

    @classmethod
    def of(cls, invoice: Invoice) -> Self:
        return cls(
            id=invoice.id,
            number=invoice.number,
            user_id=invoice.user_id,
            account_number=invoice.account_number,
            state=invoice.state,
            period=invoice.period,
            lines=[LineOut.model_validate(line) for line in orjson.loads(invoice.lines)],
            tax_lines=[TaxLineOut.model_validate(line) for line in orjson.loads(invoice.tax_lines)],
            subtotal=invoice.money(invoice.subtotal_minor),
            total=invoice.money(invoice.total_minor),
            amount_paid=invoice.money(invoice.paid_minor),
            amount_credited=invoice.money(invoice.credited_minor),
            amount_due=invoice.money(invoice.due_minor),
            due_on=invoice.due_on,
            issued_at=invoice.issued_at,
            paid_at=invoice.paid_at,
        )


class CreditNoteIn(Body):
    amount: PositiveMoney = Field(description="taxes included")
    reason: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]


class CreditNoteOut(BaseModel):
    id: str
    number: str = Field(examples=["CN-2026-000007"])
    invoice_id: str
    amount: Money
    net: Money
    tax: Money
    reason: str
    created_at: datetime

    @classmethod
    def of(cls, note: CreditNote) -> Self:
        return cls(
            id=note.id,
            number=note.number,
            invoice_id=note.invoice_id,
            amount=Money(amount_minor=note.amount_minor, currency=note.currency),
            net=Money(amount_minor=note.net_minor, currency=note.currency),
            tax=Money(amount_minor=note.amount_minor - note.net_minor, currency=note.currency),
            reason=note.reason,
            created_at=note.created_at,
        )


class DisputeIn(Body):
    reason: Text


class DisputesQuery(PageQuery):
    state: DisputeState | None = None


class ResolutionIn(Body):
    """`accepted` may come with a credit note for what was wrong."""

    outcome: Literal["accepted", "rejected"]
    resolution: Text
    credit: PositiveMoney | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.outcome == "rejected" and self.credit is not None:
            raise ValueError("a rejected dispute has no credit")
        return self


class DisputeOut(BaseModel):
    id: str
    invoice_id: str
    user_id: str
    state: DisputeState
    reason: str
    resolution: str | None
    resolved_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, dispute: Dispute) -> Self:
        return cls(
            id=dispute.id,
            invoice_id=dispute.invoice_id,
            user_id=dispute.user_id,
            state=dispute.state,
            reason=dispute.reason,
            resolution=dispute.resolution,
            resolved_at=dispute.resolved_at,
            created_at=dispute.created_at,
        )
