"""Requests and responses of billing."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from billing.models import (
    HOME,
    Account,
    AccountKind,
    AccountStatus,
    BillingRun,
    CreditNote,
    Dispute,
    DisputeState,
    DunningRun,
    Invoice,
    InvoiceState,
    Plan,
    RunState,
    Subscription,
    SubscriptionTerm,
)
from billing.models.tariffs import MAX_QUANTITY, RATES, Kind, Rate, Zone
from common import clock
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


class PdfQuery(BaseModel):
    language: Literal["en", "si", "ta"] | None = None


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
    kind: str = Field(
        description="invoice_issued, payment_received, payment_refunded, invoice_credited or invoice_voided"
    )
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


PERIOD = r"^20\d\d-(0[1-9]|1[0-2])$"
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class AccountIn(Body):
    kind: AccountKind


class PlanIn(Body):
    code: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=500)
    category: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        examples=["mobile"],
        description="an account has one of each category",
    )
    price: Money = Field(description="per month, net of taxes; may be zero")
    rates: list[Rate] = Field(default_factory=list, max_length=50)
    roaming_cap: PositiveMoney | None = Field(
        default=None, description="most that roaming can cost in a month"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 <= self.price.amount_minor <= MAX_SUBTOTAL_MINOR:
            raise ValueError("price must not be negative or absurd")
        if self.roaming_cap is not None and self.roaming_cap.currency != self.price.currency:
            raise ValueError("price and roaming_cap must be in one currency")
        if len({(rate.kind, rate.zone) for rate in self.rates}) != len(self.rates):
            raise ValueError("a kind may have one rate in each zone")
        return self


class PlanOut(BaseModel):
    id: str
    code: str
    name: str
    description: str
    category: str
    price: Money
    rates: list[Rate]
    roaming_cap: Money | None
    offered: bool

    @classmethod
    def of(cls, plan: Plan) -> Self:
        cap = plan.roaming_cap_minor
        return cls(
            id=plan.id,
            code=plan.code,
            name=plan.name,
            description=plan.description,
            category=plan.category,
            price=plan.price,
            rates=list(RATES.validate_json(plan.rates)),
            roaming_cap=None if cap is None else Money(amount_minor=cap, currency=plan.currency),
            offered=plan.offered,
        )


class SubscriptionsQuery(PageQuery):
    user_id: UserId | None = None


class SubscriptionIn(Body):
    plan_id: UserId = Field(description="a plan's id")


class ChangeIn(Body):
    plan_id: UserId = Field(description="a plan's id")
    when: Literal["now", "period_end"] = "now"


class CancelIn(Body):
    when: Literal["now", "period_end"] = "period_end"


class TermOut(BaseModel):
    plan_id: str
    plan_name: str
    starts_at: datetime
    ends_at: datetime | None


class SubscriptionOut(BaseModel):
    """`plan` is the one that holds now (or held last), `next_plan` the one that a change brings."""

    id: str
    state: Literal["active", "cancelled"]
    plan: PlanOut
    next_plan: PlanOut | None
    started_at: datetime
    ends_at: datetime | None = Field(description="when it ends, or has ended")
    billed_through: str | None
    terms: list[TermOut]

    @classmethod
    def of(cls, subscription: Subscription, terms: Sequence[tuple[SubscriptionTerm, Plan]]) -> Self:
        now = clock.now()
        begun = [plan for term, plan in terms if term.starts_at <= now]
        to_come = [plan for term, plan in terms if term.starts_at > now]
        return cls(
            id=subscription.id,
            state="active" if subscription.active_at(now) else "cancelled",
            plan=PlanOut.of(begun[-1]),
            next_plan=PlanOut.of(to_come[0]) if to_come else None,
            started_at=subscription.started_at,
            ends_at=subscription.ends_at,
            billed_through=subscription.billed_through,
            terms=[
                TermOut(plan_id=plan.id, plan_name=plan.name, starts_at=term.starts_at, ends_at=term.ends_at)
                for term, plan in terms
            ],
        )


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


class UsageQuery(BaseModel):
    """Both days included; by default this month until today."""

    user_id: UserId | None = None
    from_day: date | None = Field(default=None, alias="from")
    to_day: date | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (
            self.from_day is not None
            and self.to_day is not None
            and not (timedelta(0) <= self.to_day - self.from_day <= timedelta(days=366))
        ):
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


class BillingRunIn(Body):
    period: str = Field(pattern=PERIOD, description="a month that has begun, e.g. 2026-11")


class BillingRunOut(BaseModel):
    id: str
    period: str
    state: RunState
    accounts: int = Field(description="accounts done so far")
    invoices: int
    total: SumOut
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, run: BillingRun, sums: tuple[int, int, int], currency: str) -> Self:
        accounts, invoices, total_minor = sums
        return cls(
            id=run.id,
            period=run.period,
            state=run.state,
            accounts=accounts,
            invoices=invoices,
            total=SumOut(amount_minor=total_minor, currency=currency),
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class CreditNoteIn(Body):
    amount: PositiveMoney = Field(description="taxes included")
    reason: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


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
