"""Tables of billing: accounts, invoices, what was paid on them, dunning runs, the ledger."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata
from common.money import Money


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class InvalidTransition(Exception):
    """A state was to change in a way that its machine does not have: our own fault."""


class AccountKind(StrEnum):
    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class AccountStatus(StrEnum):
    ACTIVE = "active"
    SOFT_BARRED = "soft_barred"
    HARD_BARRED = "hard_barred"


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


class RunState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"


class LedgerAccount(StrEnum):
    """The chart of accounts. Debits are positive, credits negative."""

    CASH = "cash"
    RECEIVABLE = "receivable"
    CUSTOMER_CREDIT = "customer_credit"
    REVENUE = "revenue"
    TAX_PAYABLE = "tax_payable"


class LedgerKind(StrEnum):
    """The business fact behind a ledger transaction."""

    INVOICE_ISSUED = "invoice_issued"
    CREDIT_APPLIED = "credit_applied"
    PAYMENT_RECEIVED = "payment_received"
    PAYMENT_REFUNDED = "payment_refunded"
    INVOICE_VOIDED = "invoice_voided"


class Counter(Base):
    """The last number given in a gapless series. Whoever takes the next one holds this row until the commit."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Account(Base):
    """A customer's billing account. Its row is the lock for everything that moves the customer's money here.

    `receivable_minor` and `credit_minor` are the sums of its ledger entries, kept by the function that posts.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("receivable_minor >= 0", name="receivable"),
        CheckConstraint("credit_minor >= 0", name="credit"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    number: Mapped[str] = mapped_column(String(14), unique=True)
    user_id: Mapped[str] = mapped_column(Id, unique=True)
    kind: Mapped[AccountKind] = mapped_column(enum_column(AccountKind))
    status: Mapped[AccountStatus] = mapped_column(enum_column(AccountStatus))
    currency: Mapped[str] = mapped_column(String(3))
    receivable_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    credit_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    barred_on: Mapped[date | None] = mapped_column(Date)
    name: Mapped[str] = mapped_column(String(200))
    phone: Mapped[str] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(254))
    language: Mapped[str] = mapped_column(String(8))
    profile_as_of: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def money(self, amount_minor: int) -> Money:
        return Money(amount_minor=amount_minor, currency=self.currency)

    def bar(self, level: AccountStatus, on: date) -> None:
        """One level further: active, soft, hard."""
        before = {
            AccountStatus.SOFT_BARRED: AccountStatus.ACTIVE,
            AccountStatus.HARD_BARRED: AccountStatus.SOFT_BARRED,
        }
        if before.get(level) is not self.status:
            raise InvalidTransition(f"account {self.status} to {level}")
        self.status, self.barred_on = level, on

    def restore(self) -> None:
        if self.status is AccountStatus.ACTIVE:
            raise InvalidTransition("account is active")
        self.status, self.barred_on = AccountStatus.ACTIVE, None


class Invoice(Base):
    """A bill. Numbered when issued, and from then on its lines and sums never change.

    `lines` and `tax_lines` are JSON texts in the form in which they are answered. `paid_minor` counts payments and
    applied credit; `credit_used_minor` is the credit among it. `overdue_on` is the day of the overdue notice.
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
    due_on: Mapped[date] = mapped_column(Date)
    issued_on: Mapped[date | None] = mapped_column(Date)
    overdue_on: Mapped[date | None] = mapped_column(Date)
    issued_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    created_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    @property
    def due_minor(self) -> int:
        return 0 if self.state is InvoiceState.VOID else self.total_minor - self.paid_minor

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
            self.paid_at = self.overdue_on = None
        self._become(self._state_by_amounts())

    def fall_overdue(self, on: date) -> None:
        self._become(InvoiceState.OVERDUE)
        self.overdue_on = on

    def void(self) -> None:
        """What was paid on it is the customer's credit from now on."""
        self._become(InvoiceState.VOID)
        self.paid_minor = self.credit_used_minor = 0
        self.voided_at = clock.now()

    def _state_by_amounts(self) -> InvoiceState:
        if self.paid_minor == self.total_minor:
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


class DunningRun(Base):
    """One pass over all accounts with something overdue; `cursor` is the last account done.

    `automatic_for` is set on the day's own run, so that there is one a day; others were asked for by an admin.
    """

    __tablename__ = "dunning_runs"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    state: Mapped[RunState] = mapped_column(enum_column(RunState), default=RunState.RUNNING, index=True)
    as_of: Mapped[date] = mapped_column(Date)
    automatic_for: Mapped[date | None] = mapped_column(Date, unique=True)
    requested_by: Mapped[str | None] = mapped_column(Id)
    cursor: Mapped[str] = mapped_column(Id, default="")
    accounts: Mapped[int] = mapped_column(Integer, default=0)
    invoices_overdue: Mapped[int] = mapped_column(Integer, default=0)
    soft_barred: Mapped[int] = mapped_column(Integer, default=0)
    hard_barred: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    def complete(self) -> None:
        if self.state is not RunState.RUNNING:
            raise InvalidTransition(f"dunning run is {self.state}")
        self.state, self.completed_at = RunState.COMPLETED, clock.now()


class LedgerTransaction(Base):
    """A business fact in the books; `reference_id` and `kind` decide that it is there once. Only ever added.

    `amount_minor` is its effect on what the customer owes, `balance_minor` what the customer owes after it
    (negative: has in credit).
    """

    __tablename__ = "ledger_transactions"
    __table_args__ = (
        UniqueConstraint("reference_id", "kind"),
        Index("ix_ledger_transactions_account_id_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[LedgerKind] = mapped_column(enum_column(LedgerKind))
    reference_id: Mapped[str] = mapped_column(Id)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"))
    payment_id: Mapped[str | None] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(String(3))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class LedgerEntry(Base):
    """One side of a ledger transaction. Only ever added."""

    __tablename__ = "ledger_entries"
    __table_args__ = (CheckConstraint("amount_minor <> 0", name="amount"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transactions.id"), index=True)
    ledger_account: Mapped[LedgerAccount] = mapped_column(enum_column(LedgerAccount))
    currency: Mapped[str] = mapped_column(String(3))
    amount_minor: Mapped[int] = mapped_column(BigInteger)


@event.listens_for(LedgerTransaction, "before_update")
@event.listens_for(LedgerTransaction, "before_delete")
@event.listens_for(LedgerEntry, "before_update")
@event.listens_for(LedgerEntry, "before_delete")
def _refuse_change(_mapper: Mapper[Any], _connection: Connection, row: Any) -> None:
    raise InvalidTransition(f"{type(row).__name__} is append-only")
