"""Requests and responses of billing."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Self

import orjson
from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from billing.models import Account, AccountKind, AccountStatus, DunningRun, Invoice, InvoiceState, RunState
from common.db import PageQuery
from common.ids import UUID_PATTERN
from common.money import MAX_MINOR, Money, PositiveMoney
from common.schemas import Body

MAX_SUBTOTAL_MINOR = MAX_MINOR // 1000
"""Ten thousand million rupees: leaves room for taxes, and for an account to owe many of these."""


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value


def _plausible(value: date) -> date:
    if not 2000 <= value.year < 2100:
        raise ValueError("must lie between 2000 and 2099")
    return value


UserId = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$", description="a user id")]
Description = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


class CustomerQuery(BaseModel):
    """Whose things: for agents and admins, the signed-in user's own when not given."""

    user_id: UserId | None = None


class InvoicesQuery(PageQuery):
    """`from` and `to` are days of issue, both included."""

    user_id: UserId | None = None
    state: InvoiceState | None = None
    issued_from: date | None = Field(default=None, alias="from")
    issued_to: date | None = Field(default=None, alias="to")


class LedgerQuery(PageQuery):
    user_id: UserId | None = None


class LineIn(Body):
    description: Description
    quantity: int = Field(default=1, ge=1, le=1_000_000)
    unit_price: PositiveMoney


class InvoiceIn(Body):
    user_id: UserId
    lines: list[LineIn] = Field(min_length=1, max_length=100)
    due_on: Annotated[date, AfterValidator(_plausible)]
    period: str | None = Field(
        default=None, pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="the month billed, e.g. 2026-11"
    )

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


class AccountOut(BaseModel):
    id: str
    number: str = Field(examples=["STL-0000000042"])
    user_id: str
    kind: AccountKind
    status: AccountStatus
    barred_on: date | None
    balance_due: Money
    credit: Money = Field(description="paid too much: taken off the next invoice when it is issued")
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            id=account.id,
            number=account.number,
            user_id=account.user_id,
            kind=account.kind,
            status=account.status,
            barred_on=account.barred_on,
            balance_due=account.money(account.receivable_minor),
            credit=account.money(account.credit_minor),
            created_at=account.created_at,
        )


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


class StatementLineOut(BaseModel):
    """A movement on the customer's account."""

    id: str
    kind: str = Field(description="invoice_issued, payment_received, payment_refunded or invoice_voided")
    invoice_id: str
    invoice_number: str
    payment_id: str | None
    amount: Money = Field(description="above zero: owed; below zero: paid or credited")
    balance: Money = Field(description="owed after it; below zero: in credit")
    created_at: datetime


class SumOut(BaseModel):
    """Money over all customers: not bounded as a single amount is."""

    amount_minor: int
    currency: str


class LedgerBalanceOut(BaseModel):
    ledger_account: str
    debit: SumOut
    credit: SumOut
    balance: SumOut = Field(description="debit less credit")


class TrialBalanceOut(BaseModel):
    balanced: bool
    totals: list[SumOut] = Field(description="the sum over all ledger accounts, per currency: always zero")
    accounts: list[LedgerBalanceOut]

    @classmethod
    def of(cls, sums: Sequence[tuple[str, str, int, int]], currency: str) -> Self:
        """From (ledger account, currency, debits, credits); `currency` is there even when the books are empty."""
        totals: dict[str, int] = {currency: 0}
        for _, of_currency, debit, credit in sums:
            totals[of_currency] = totals.get(of_currency, 0) + debit - credit
        return cls(
            balanced=not any(totals.values()),
            totals=[SumOut(amount_minor=total, currency=code) for code, total in totals.items()],
            accounts=[
                LedgerBalanceOut(
                    ledger_account=name,
                    debit=SumOut(amount_minor=debit, currency=code),
                    credit=SumOut(amount_minor=credit, currency=code),
                    balance=SumOut(amount_minor=debit - credit, currency=code),
                )
                for name, code, debit, credit in sums
            ],
        )


class DunningRunOut(BaseModel):
    id: str
    state: RunState
    as_of: date
    accounts: int = Field(description="accounts looked at so far")
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
            reminders=run.reminders,
            invoices_overdue=run.invoices_overdue,
            soft_barred=run.soft_barred,
            hard_barred=run.hard_barred,
            created_at=run.created_at,
            completed_at=run.completed_at,
        )
