"""Invoices and what changes what is due on them: payments, refunds, credit notes; disputes about them."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    String,
    Text,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base, InvalidTransition
from common import clock, ids
from common.db import Id, enum_column
from common.money import Money


class InvoiceState(StrEnum):
    DRAFT = "draft"
    ISSUED = "issued"
    PARTIALLY_PAID = "partially_paid"
    PAID = "paid"
    OVERDUE = "overdue"
    VOID = "void"


OPEN_STATES = (InvoiceState.ISSUED, InvoiceState.PARTIALLY_PAID, InvoiceState.OVERDUE)
_OPEN_OR_PAID = frozenset({*OPEN_STATES, InvoiceState.PAID})
_NEXT: dict[InvoiceState, frozenset[InvoiceState]] = {
    InvoiceState.DRAFT: frozenset({InvoiceState.ISSUED}),
    InvoiceState.ISSUED: _OPEN_OR_PAID | {InvoiceState.VOID},
    InvoiceState.PARTIALLY_PAID: _OPEN_OR_PAID | {InvoiceState.VOID},
    InvoiceState.OVERDUE: _OPEN_OR_PAID | {InvoiceState.VOID},
    InvoiceState.PAID: frozenset({InvoiceState.ISSUED, InvoiceState.PARTIALLY_PAID}),
    InvoiceState.VOID: frozenset(),
}


class Invoice(Base):
    """A bill. Numbered when issued, and from then on its lines and sums never change.

    `lines` and `tax_lines` are JSON texts in the form in which they are answered. `paid_minor` counts payments and
    applied credit; `credit_used_minor` is the credit among it. `credited_minor` is what credit notes took off what
    was due. `overdue_on` is the day of the overdue notice, and `bar_from` the first day of a bar as that told it (None
    on those from before migration 0007); `disputed` holds dunning back. `run_id` is set on the invoices of billing
    runs: of those an account has one for each period that is not void. `billed_items` says what their lines bill
    (`use_cases.billed`).
    """

    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint("paid_minor >= 0 AND paid_minor <= total_minor", name="paid"),
        CheckConstraint("credit_used_minor >= 0 AND credit_used_minor <= paid_minor", name="credit_used"),
        Index("ix_invoices_user_id_id", "user_id", "id"),
        Index("ix_invoices_account_id_id", "account_id", "id"),
        Index(
            "ix_invoices_open",
            "account_id",
            "due_on",
            postgresql_where=text("state IN ('issued', 'partially_paid', 'overdue')"),
            sqlite_where=text("state IN ('issued', 'partially_paid', 'overdue')"),
        ),
        Index(
            "uq_invoices_run_period",
            "account_id",
            "period",
            unique=True,
            postgresql_where=text("run_id IS NOT NULL AND state <> 'void'"),
            sqlite_where=text("run_id IS NOT NULL AND state <> 'void'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    number: Mapped[str | None] = mapped_column(String(20), unique=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    account_number: Mapped[str] = mapped_column(String(14))
    user_id: Mapped[str] = mapped_column(Id)
    state: Mapped[InvoiceState] = mapped_column(enum_column(InvoiceState), default=InvoiceState.DRAFT)
    period: Mapped[str | None] = mapped_column(String(7))
    currency: Mapped[str] = mapped_column(String(3))
    lines: Mapped[str] = mapped_column(Text)
    tax_lines: Mapped[str] = mapped_column(Text)
    subtotal_minor: Mapped[int] = mapped_column(BigInteger)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    paid_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    credit_used_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    credited_minor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    due_on: Mapped[date] = mapped_column(Date)
    reminded_on: Mapped[date | None] = mapped_column(Date)
    disputed: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    run_id: Mapped[str | None] = mapped_column(Id)
    billed_items: Mapped[str | None] = mapped_column(Text)
    issued_on: Mapped[date | None] = mapped_column(Date)
    overdue_on: Mapped[date | None] = mapped_column(Date)
    bar_from: Mapped[date | None] = mapped_column(Date)
    issued_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    voided_by: Mapped[str | None] = mapped_column(Id)
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    @property
    def due_minor(self) -> int:
        if self.state is InvoiceState.VOID:
            return 0
        return self.total_minor - self.paid_minor - self.credited_minor

    def money(self, amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=self.currency)

    def issue(self, number: str) -> None:
        self._become(InvoiceState.ISSUED)
        self.number, self.issued_at, self.issued_on = number, clock.now(), clock.today()

    def pay(self, amount_minor: int, *, from_credit: bool = False) -> None:
        """Take up to what is due off it, from a payment or from the account's credit."""
        if self.state not in OPEN_STATES or not 0 < amount_minor <= self.due_minor:
            raise InvalidTransition(f"{amount_minor} on a {self.state} invoice with {self.due_minor} due")
        self.paid_minor += amount_minor
        if from_credit:
            self.credit_used_minor += amount_minor
        self._become(self._state_by_amounts())
        if self.state is InvoiceState.PAID:
            self.paid_at = clock.now()

    def reopen(self, amount_minor: int, *, from_credit: bool = False) -> None:
        """Owe an amount again that had been paid. What was paid in full is dunned from the start."""
        if self.state not in _OPEN_OR_PAID or not 0 < amount_minor <= self.paid_minor:
            raise InvalidTransition(
                f"{amount_minor} back on a {self.state} invoice with {self.paid_minor} paid"
            )
        self.paid_minor -= amount_minor
        if from_credit:
            self.credit_used_minor -= amount_minor
        if self.state is InvoiceState.PAID:
            self.paid_at = None
            self.forget_notice()
        self._become(self._state_by_amounts())

    def keep_paid_by_credit(self, amount_minor: int) -> None:
        """What a payment had paid is the account's credit's from now on, so that it is not due again."""
        self.credit_used_minor += amount_minor

    def fall_overdue(self, on: date, *, bar_from: date) -> None:
        """The customer has notice of it from this day on."""
        self._become(InvoiceState.OVERDUE)
        self.overdue_on, self.bar_from = on, bar_from

    def forget_notice(self) -> None:
        """It costs nobody the service before there has been another one."""
        self.overdue_on = self.bar_from = None

    def credit(self, amount_minor: int) -> None:
        """Take up to what is due off it by a credit note."""
        if self.state not in OPEN_STATES or not 0 < amount_minor <= self.due_minor:
            raise InvalidTransition(f"credit of {amount_minor} on a {self.state} invoice")
        self.credited_minor += amount_minor
        self._become(self._state_by_amounts())
        if self.state is InvoiceState.PAID:
            self.paid_at = clock.now()

    def void(self, by: str) -> None:
        """What was paid on it is the customer's credit from now on."""
        self._become(InvoiceState.VOID)
        self.paid_minor = self.credit_used_minor = 0
        self.voided_at, self.voided_by = clock.now(), by

    def _state_by_amounts(self) -> InvoiceState:
        if self.paid_minor + self.credited_minor == self.total_minor:
            return InvoiceState.PAID
        if self.overdue_on is not None:
            return InvoiceState.OVERDUE
        return InvoiceState.PARTIALLY_PAID if self.paid_minor else InvoiceState.ISSUED

    def _become(self, state: InvoiceState) -> None:
        if state not in _NEXT[self.state]:
            raise InvalidTransition(f"invoice {self.state} to {state}")
        self.state = state


class InvoicePayment(Base):
    """A payment of the payment service for an invoice; its id decides that it counts once.

    `applied_minor` is what of it pays the invoice now; the rest, less what was refunded, went to the credit.
    """

    __tablename__ = "invoice_payments"
    __table_args__ = (
        CheckConstraint(
            "applied_minor >= 0 AND applied_minor + refunded_minor <= amount_minor", name="split"
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    applied_minor: Mapped[int] = mapped_column(BigInteger)
    refunded_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    completed_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class InvoiceRefund(Base):
    """A refund of such a payment; its id decides that it counts once."""

    __tablename__ = "invoice_refunds"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    payment_id: Mapped[str] = mapped_column(ForeignKey("invoice_payments.id"), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class CreditNote(Base):
    """An amount that an invoice should not have had, taxes included: off what is due, the rest to the credit.

    `net_minor` is the part of it that was revenue. Only ever added.
    """

    __tablename__ = "credit_notes"
    __table_args__ = (
        CheckConstraint("amount_minor > 0 AND net_minor >= 0 AND net_minor <= amount_minor", name="amount"),
        Index("ix_credit_notes_invoice_id_id", "invoice_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    number: Mapped[str] = mapped_column(String(20), unique=True)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"))
    user_id: Mapped[str] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(String(3))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    net_minor: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(200))
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class DisputeState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Dispute(Base):
    """A customer's objection to an invoice; while it is open the invoice is not dunned. One open at a time."""

    __tablename__ = "disputes"
    __table_args__ = (
        Index("ix_disputes_invoice_id_id", "invoice_id", "id"),
        Index("ix_disputes_state_id", "state", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"))
    user_id: Mapped[str] = mapped_column(Id)
    state: Mapped[DisputeState] = mapped_column(enum_column(DisputeState), default=DisputeState.OPEN)
    reason: Mapped[str] = mapped_column(String(1000))
    resolution: Mapped[str | None] = mapped_column(String(1000))
    resolved_by: Mapped[str | None] = mapped_column(Id)
    resolved_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def resolve(self, state: DisputeState, *, resolution: str, by: str) -> None:
        if self.state is not DisputeState.OPEN or state is DisputeState.OPEN:
            raise InvalidTransition(f"dispute {self.state} to {state}")
        self.state, self.resolution = state, resolution
        self.resolved_by, self.resolved_at = by, clock.now()
