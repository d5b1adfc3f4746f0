"""What may be paid, payments and refunds, and the transitions of their states."""

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Update,
    bindparam,
    false,
    or_,
    text,
)
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

from common import clock, ids
from common.db import Id, Statement, enum_column
from common.money import Money
from payment.models.base import Base, changed_one


class ReferenceType(StrEnum):
    """What a payment is for."""

    ORDER = "order"
    INVOICE = "invoice"
    TOP_UP = "top_up"


class PayableState(StrEnum):
    OPEN = "open"
    PAID = "paid"
    CLOSED = "closed"


class MethodState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    REMOVING = "removing"
    REMOVED = "removed"


class CaseKind(StrEnum):
    """Why a person has to look."""

    REFUND_REFUSED = "refund_refused"
    CAPTURED_AFTER_FAILURE = "captured_after_failure"
    CHARGEBACK = "chargeback"


class CaseState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


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


HOLDING = (PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION, PaymentState.COMPLETED)
"""States in which a payment holds its order or invoice: its owner cannot have a second one beside it."""
CAPTURED_STATES = (PaymentState.COMPLETED, PaymentState.REFUNDING, PaymentState.REFUNDED)
PENDING = (PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION)
"""States in which the outcome is not known yet."""

_HOLDS = text(
    "state IN ('processing', 'requires_action', 'completed') AND reference_id IS NOT NULL AND NOT released"
)
_DUE = text("check_at IS NOT NULL")
_LEFT = text("gateway_token IS NOT NULL AND saved_method_id IS NULL")


class Payable(Base):
    """An order or an invoice as its events tell: who owes how much, and whether it can still be paid.

    `as_of` is the time of the newest event that was taken in, so that an older one that comes later changes nothing.
    """

    __tablename__ = "payables"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    type: Mapped[ReferenceType] = mapped_column(enum_column(ReferenceType))
    owner_id: Mapped[str] = mapped_column(Id)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[PayableState] = mapped_column(enum_column(PayableState))
    closed_reason: Mapped[str | None] = mapped_column(String(100))
    paid_by: Mapped[str | None] = mapped_column(Id)
    as_of: Mapped[datetime | None]
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

    def owe(self, amount: Money) -> None:
        """So much is due now, whatever was due or paid before."""
        self.amount_minor, self.currency, self.paid_by = amount.amount_minor, amount.currency, None
        self.state = PayableState.OPEN if amount.amount_minor > 0 else PayableState.PAID

    def pay_elsewhere(self, payment_id: str | None) -> None:
        """Its producer says that it is paid; no-op unless it was open."""
        if self.state is PayableState.OPEN:
            self.state, self.paid_by = PayableState.PAID, payment_id


class Payment(Base):
    """A payment and how far it is.

    `check_at` is when the janitor looks at it next (null: nothing to do), `awaits_reference` while the event of its
    order or invoice has not arrived; `released` when its invoice is owed again, so that another may pay that. Its id is
    the key under which the gateway knows the charge; `gateway_token` stands for the card until it is charged, and then
    until the gateway has forgotten it when the customer does not save it.
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
        Index("ix_payments_token_left", "id", postgresql_where=_LEFT, sqlite_where=_LEFT),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    reference_type: Mapped[ReferenceType] = mapped_column(enum_column(ReferenceType))
    reference_id: Mapped[str | None] = mapped_column(Id, index=True)
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
    saved_method_id: Mapped[str | None] = mapped_column(Id)
    awaits_reference: Mapped[bool] = mapped_column(default=False)
    released: Mapped[bool] = mapped_column(default=False, server_default=false())
    otp_tries: Mapped[int] = mapped_column(default=0)
    action_expires_at: Mapped[datetime | None]
    action_url: Mapped[str | None] = mapped_column(String(500))
    check_at: Mapped[datetime | None]
    checks: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    completed_at: Mapped[datetime | None]

    @property
    def amount(self) -> Money:
        return Money(amount_minor=self.amount_minor, currency=self.currency)


class Refund(Base):
    """Money on its way back to where a payment's came from. Its id is the key at the gateway.

    `retries` counts how often a person had a refused one tried again; `by_hand` says that the money went back in
    another way than through the gateway.
    """

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
    requested_by: Mapped[str | None] = mapped_column(Id)
    state: Mapped[RefundState] = mapped_column(enum_column(RefundState))
    check_at: Mapped[datetime | None]
    checks: Mapped[int] = mapped_column(default=0)
    retries: Mapped[int] = mapped_column(default=0, server_default="0")
    by_hand: Mapped[bool] = mapped_column(default=False, server_default=false())
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


_BEFORE: dict[PaymentState, tuple[PaymentState, ...]] = {
    PaymentState.PROCESSING: (PaymentState.REQUIRES_ACTION,),
    PaymentState.REQUIRES_ACTION: (PaymentState.PROCESSING,),
    PaymentState.COMPLETED: (*PENDING, PaymentState.REFUNDING),
    PaymentState.FAILED: PENDING,
    PaymentState.REFUNDING: (PaymentState.COMPLETED, PaymentState.REFUNDING, PaymentState.FAILED),
    PaymentState.REFUNDED: (PaymentState.REFUNDING,),
}


# The transitions of the hot path are conditional updates: of two who try one succeeds. They are Core statements built
# once, since building one anew costs more than running it.


def take_payable(session: Session, payment: Payment) -> bool:
    """open → paid by this payment; False when it is unknown, another's, not open, or another amount is due."""
    return changed_one(
        session,
        _TAKE,
        {
            "key": payment.reference_id,
            "kind": payment.reference_type,
            "owner": payment.user_id,
            "payment": payment.id,
            "due": payment.amount_minor,
            "money": payment.currency,
        },
    )


def give_payable_back(session: Session, reference_id: str, payment_id: str) -> None:
    """Undo `take_payable` within its transaction."""
    changed_one(session, _GIVE_BACK, {"key": reference_id, "payment": payment_id})


def move_payment(session: Session, payment: Payment, to: PaymentState, **values: Any) -> bool:
    """Bring a payment to a state with further values; False, and nothing is changed, when its state in the database
    does not allow that. The object follows, whether it belongs to the session or not."""
    values["state"] = to
    names = tuple(sorted(values))
    if not changed_one(
        session, _moving(to, names), {"key": payment.id, **{f"to_{n}": values[n] for n in names}}
    ):
        return False
    for name in names:
        set_committed_value(payment, name, values[name])
    return True


_TAKE = Statement(
    sql_update(Payable.__table__)  # type: ignore[arg-type]
    .where(
        Payable.id == bindparam("key"),
        Payable.type == bindparam("kind"),
        Payable.owner_id == bindparam("owner"),
        Payable.state == PayableState.OPEN,
        Payable.amount_minor == bindparam("due"),
        Payable.currency == bindparam("money"),
    )
    .values(state=PayableState.PAID, paid_by=bindparam("payment"))
)
_GIVE_BACK = Statement(
    sql_update(Payable.__table__)  # type: ignore[arg-type]
    .where(Payable.id == bindparam("key"), Payable.paid_by == bindparam("payment"))
    .values(state=PayableState.OPEN, paid_by=None)
)


@cache
def _moving(to: PaymentState, names: tuple[str, ...]) -> Statement:
    return Statement(
        sql_update(Payment.__table__)  # type: ignore[arg-type]
        .where(Payment.id == bindparam("key"), or_(*(Payment.state == before for before in _BEFORE[to])))
        .values({name: bindparam(f"to_{name}") for name in names})
    )
