"""The double-entry ledger. Triggers of the database refuse every change of a row that is there."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from billing.models.base import Base
from common import clock, ids
from common.db import Id, enum_column


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
    INVOICE_CREDITED = "invoice_credited"


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
