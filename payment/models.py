"""Tables of payment, and the transitions of their states.

Locks are taken in the order payables, wallets, payments, refunds.
"""

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Insert,
    String,
    Table,
    UniqueConstraint,
    Update,
    bindparam,
    text,
)
from sqlalchemy import insert as sql_insert
from sqlalchemy import update as sql_update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata
from common.money import Money


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class ReferenceType(StrEnum):
    """What a payment is for."""

    ORDER = "order"
    INVOICE = "invoice"
    TOP_UP = "top_up"


class PayableState(StrEnum):
    OPEN = "open"
    PAID = "paid"
    CLOSED = "closed"


class MethodType(StrEnum):
    CARD = "card"
    WALLET = "wallet"
    SAVED = "saved"


class PaymentState(StrEnum):
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    COMPLETED = "completed"
    FAILED = "failed"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class RefundState(StrEnum):
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class Account(StrEnum):
    """Where wallet money comes from and goes to: a customer's wallet, or one of the operator's accounts."""

    WALLET = "wallet"
    CARD_GATEWAY = "card_gateway"
    SALES = "sales"


class EntryReason(StrEnum):
    TOP_UP = "top_up"
    PAYMENT = "payment"
    REFUND = "refund"


HOLDING = (PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION, PaymentState.COMPLETED)
"""States in which a payment holds its order or invoice: its owner cannot have a second one beside it."""
PENDING = (PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION)
"""States in which the outcome is not known yet."""

LOW_BALANCE_MINOR = 10_000
"""Below this the customer is told, unless they set another bound."""

_HOLDS = text("state IN ('processing', 'requires_action', 'completed') AND reference_id IS NOT NULL")
_DUE = text("check_at IS NOT NULL")


class Payable(Base):
    """An order or an invoice as its events tell: who owes how much, and whether it can still be paid."""

    __tablename__ = "payables"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    type: Mapped[ReferenceType] = mapped_column(enum_column(ReferenceType))
    owner_id: Mapped[str] = mapped_column(Id)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[PayableState] = mapped_column(enum_column(PayableState))
    closed_reason: Mapped[str | None] = mapped_column(String(100))
    paid_by: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    @property
    def amount(self) -> Money:
        return Money(amount_minor=self.amount_minor, currency=self.currency)

    def close(self, reason: str) -> bool:
        """Nothing may be paid from now on; False when that was so before."""
        if self.state is PayableState.CLOSED:
            return False
        self.state, self.closed_reason = PayableState.CLOSED, reason
        return True

    def pay_elsewhere(self, payment_id: str | None) -> None:
        """Its producer says that it is paid; no-op unless it was open."""
        if self.state is PayableState.OPEN:
            self.state, self.paid_by = PayableState.PAID, payment_id


class Payment(Base):
    """A payment and how far it is.

    `check_at` is when the janitor looks at it next (null: nothing to do), `awaits_reference` while the event of its
    order or invoice has not arrived. Its id is the key under which the gateway knows the charge.
    """

    __tablename__ = "payments"
    __table_args__ = (
        Index("ix_payments_user_id_id", "user_id", "id"),
        Index(
            "uq_payments_holding",
            "reference_id",
            "user_id",
            unique=True,
            postgresql_where=_HOLDS,
            sqlite_where=_HOLDS,
        ),
        Index("ix_payments_due", "check_at", postgresql_where=_DUE, sqlite_where=_DUE),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    reference_type: Mapped[ReferenceType] = mapped_column(enum_column(ReferenceType))
    reference_id: Mapped[str | None] = mapped_column(Id)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    refunded_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[PaymentState] = mapped_column(enum_column(PaymentState))
    failure_reason: Mapped[str | None] = mapped_column(String(50))
    method_type: Mapped[MethodType] = mapped_column(enum_column(MethodType))
    brand: Mapped[str | None] = mapped_column(String(20))
    last4: Mapped[str | None] = mapped_column(String(4))
    gateway: Mapped[str | None] = mapped_column(String(30))
    gateway_token: Mapped[str | None] = mapped_column(String(100))
    awaits_reference: Mapped[bool] = mapped_column(default=False)
    otp_tries: Mapped[int] = mapped_column(default=0)
    action_expires_at: Mapped[datetime | None]
    check_at: Mapped[datetime | None]
    checks: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    @property
    def amount(self) -> Money:
        return Money(amount_minor=self.amount_minor, currency=self.currency)


class Refund(Base):
    """Money on its way back to where a payment's came from. Its id is the key at the gateway."""

    __tablename__ = "refunds"
    __table_args__ = (
        Index("ix_refunds_due", "check_at", postgresql_where=_DUE, sqlite_where=_DUE),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str] = mapped_column(String(200))
    state: Mapped[RefundState] = mapped_column(enum_column(RefundState))
    check_at: Mapped[datetime | None]
    checks: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    @property
    def amount(self) -> Money:
        return Money(amount_minor=self.amount_minor, currency=self.currency)

    @classmethod
    def moving(cls, refund_id: str, to: RefundState, **values: Any) -> Update:
        """The statement processing → `to`; touches no row when it was over before."""
        return (
            sql_update(cls)
            .where(cls.id == refund_id, cls.state == RefundState.PROCESSING)
            .values(state=to, check_at=None, **values)
        )


class Wallet(Base):
    """A customer's prepaid balance in one currency: always the sum of its entries, never below zero.

    The customer is told when it falls below `low_balance_minor` (0: never).
    """

    __tablename__ = "wallets"
    __table_args__ = (
        UniqueConstraint("user_id", "currency"),
        CheckConstraint("balance_minor >= 0", name="balance_not_negative"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(String(3))
    balance_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    low_balance_minor: Mapped[int] = mapped_column(
        BigInteger, default=LOW_BALANCE_MINOR, server_default="10000"
    )
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class WalletEntry(Base):
    """One leg of a double entry: all legs of a `transfer_id` add up to zero. Rows are only ever added:
    triggers hold that.

    The operator's accounts have no balance row (every payment would wait for it): theirs is the sum of their legs.
    """

    __tablename__ = "wallet_entries"
    __table_args__ = (
        Index("ix_wallet_entries_wallet_id_id", "wallet_id", "id"),
        UniqueConstraint("source_id", "reason", "wallet_id"),
        CheckConstraint("(account = 'wallet') = (wallet_id IS NOT NULL)", name="wallet_named"),
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    transfer_id: Mapped[str] = mapped_column(Id)
    account: Mapped[Account] = mapped_column(enum_column(Account))
    wallet_id: Mapped[str | None] = mapped_column(ForeignKey("wallets.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    balance_minor: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[EntryReason] = mapped_column(enum_column(EntryReason))
    source_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


_BEFORE: dict[PaymentState, tuple[PaymentState, ...]] = {
    PaymentState.PROCESSING: (PaymentState.REQUIRES_ACTION,),
    PaymentState.REQUIRES_ACTION: (PaymentState.PROCESSING,),
    PaymentState.COMPLETED: PENDING,
    PaymentState.FAILED: PENDING,
    PaymentState.REFUNDING: (PaymentState.COMPLETED,),
    PaymentState.REFUNDED: (PaymentState.REFUNDING,),
}


# The transitions of the hot path are conditional updates: of two who try one succeeds. They are Core statements built
# once, since building one anew costs more than running it.


def take_payable(session: Session, reference_id: str, payment_id: str) -> bool:
    """open → paid by this payment; False when it is not open."""
    return _changed(session, _TAKE, {"key": reference_id, "payment": payment_id})


def give_payable_back(session: Session, reference_id: str, payment_id: str) -> None:
    """Undo `take_payable` within its transaction."""
    _changed(session, _GIVE_BACK, {"key": reference_id, "payment": payment_id})


def move_payment(session: Session, payment: Payment, to: PaymentState, **values: Any) -> bool:
    """Bring a payment to a state with further values; False, and nothing is changed, when its state in the database
    does not allow that. The object follows, whether it belongs to the session or not."""
    values["state"] = to
    names = tuple(sorted(values))
    if not _changed(
        session, _moving(to, names), {"key": payment.id, **{f"to_{n}": values[n] for n in names}}
    ):
        return False
    for name in names:
        set_committed_value(payment, name, values[name])
    return True


class Balance(NamedTuple):
    """A wallet after a change."""

    wallet_id: str
    balance_minor: int
    low_balance_minor: int


def change_balance(session: Session, user_id: str, by: Money) -> Balance | None:
    """Add to a balance; the wallet as it then is, or None when it would fall below zero or is not there."""
    changed = session.connection().execute(
        _CHANGE_BALANCE, {"owner": user_id, "money": by.currency, "by": by.amount_minor}
    )
    row = changed.one_or_none()
    return None if row is None else Balance(*row)


def insert_rows(session: Session, *rows: Base) -> None:
    """Add rows of one table as they are, without the session taking them in."""
    table = rows[0].__table__
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    values = [{name: getattr(row, name) for name in names} for row in rows]
    session.connection().execute(_inserting(table), values if len(values) > 1 else values[0])


def _changed(session: Session, statement: Update, values: dict[str, Any]) -> bool:
    return session.connection().execute(statement, values).rowcount == 1


_TAKE = (
    sql_update(Payable.__table__)  # type: ignore[arg-type]
    .where(Payable.id == bindparam("key"), Payable.state == PayableState.OPEN)
    .values(state=PayableState.PAID, paid_by=bindparam("payment"))
)
_GIVE_BACK = (
    sql_update(Payable.__table__)  # type: ignore[arg-type]
    .where(Payable.id == bindparam("key"), Payable.paid_by == bindparam("payment"))
    .values(state=PayableState.OPEN, paid_by=None)
)
_CHANGE_BALANCE = (
    sql_update(Wallet.__table__)  # type: ignore[arg-type]
    .where(
        Wallet.user_id == bindparam("owner"),
        Wallet.currency == bindparam("money"),
        Wallet.balance_minor + bindparam("by") >= 0,
    )
    .values(balance_minor=Wallet.balance_minor + bindparam("by"))
    .returning(Wallet.id, Wallet.balance_minor, Wallet.low_balance_minor)
)


@cache
def _moving(to: PaymentState, names: tuple[str, ...]) -> Update:
    return (
        sql_update(Payment.__table__)  # type: ignore[arg-type]
        .where(Payment.id == bindparam("key"), Payment.state.in_(_BEFORE[to]))
        .values({name: bindparam(f"to_{name}") for name in names})
    )


@cache
def _inserting(table: Table) -> Insert:
    return sql_insert(table)
