"""What may be paid, as the events of its producers tell. They may arrive in any order."""

import logging
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from common.money import Money
from payment.models import (
    HOLDING,
    Payable,
    PayableState,
    Payment,
    PaymentState,
    ReferenceType,
)
from payment.use_cases.refunds import start_refund

log = logging.getLogger(__name__)


def open_payable(
    session: Session, *, kind: ReferenceType, reference_id: str, owner_id: str, amount: Money
) -> None:
    """An order or invoice is there to be paid. No-op when it is known. Payments that wait for it go on."""
    if session.get(Payable, reference_id, with_for_update=True) is not None:
        return
    payable = _new(kind, reference_id, owner_id, amount, PayableState.OPEN)
    if amount.amount_minor <= 0:
        payable.close("nothing_due")
    session.add(payable)
    session.flush()
    _look_at_payments(session, reference_id)


def close_payable(
    session: Session, *, kind: ReferenceType, reference_id: str, owner_id: str, amount: Money, reason: str
) -> None:
    """Nothing is owed any more: what was paid for it goes back, what is being paid is stopped or goes back later.

    Safe to repeat.
    """
    payable = session.get(Payable, reference_id, with_for_update=True)
    if payable is None:
        payable = _new(kind, reference_id, owner_id, amount, PayableState.OPEN)
        session.add(payable)
    if not payable.close(reason[:100]):
        return
    session.flush()
    _look_at_payments(session, reference_id)
    completed = select(Payment).where(
        Payment.reference_id == reference_id,
        Payment.state.in_((PaymentState.COMPLETED, PaymentState.REFUNDING)),
    )
    for payment in session.scalars(completed).all():
        start_refund(session, payment, reason=reason)


def update_invoice(
    session: Session,
    *,
    reference_id: str,
    owner_id: str,
    due: Money,
    as_of: datetime,
    closed: str | None = None,
    paid_by: str | None = None,
) -> None:
    """An invoice as an event of `as_of` tells: so much is due, or it is closed, or paid. Older events change nothing.

    What is being paid meanwhile for another amount goes back by itself when it arrives. Safe to repeat.
    """
    payable = session.get(Payable, reference_id, with_for_update=True)
    if payable is None:
        payable = _new(ReferenceType.INVOICE, reference_id, owner_id, due, PayableState.OPEN)
        session.add(payable)
    elif payable.as_of is not None and payable.as_of >= as_of:
        return
    payable.as_of = as_of
    if closed is not None:
        payable.close(closed[:100])
    elif due.amount_minor <= 0:
        payable.pay_elsewhere(paid_by)
    elif payable.state is not PayableState.OPEN or payable.amount != due:
        payable.owe(due)
        _release(session, reference_id)
    session.flush()
    _look_at_payments(session, reference_id)


def _release(session: Session, reference_id: str) -> None:
    """Let another payment pay what is owed again beside those that were completed before."""
    session.execute(
        update(Payment)
        .where(
            Payment.reference_id == reference_id,
            Payment.state.in_(HOLDING),
            Payment.state == PaymentState.COMPLETED,
        )
        .values(released=True),
        execution_options={"synchronize_session": False},
    )


def _new(
    kind: ReferenceType, reference_id: str, owner_id: str, amount: Money, state: PayableState
) -> Payable:
    return Payable(
        id=reference_id,
        type=kind,
        owner_id=owner_id,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        state=state,
    )


def _look_at_payments(session: Session, reference_id: str) -> None:
    """Have the janitor look now at payments that wait for this reference or for their owner's password."""
    moved = session.execute(
        update(Payment)
        .where(
            Payment.reference_id == reference_id,
            Payment.state.in_(HOLDING),
            Payment.awaits_reference | (Payment.state == PaymentState.REQUIRES_ACTION),
        )
        .values(check_at=clock.now()),
        execution_options={"synchronize_session": False},
    )
    if moved.rowcount:  # type: ignore[attr-defined]
        wake(session, "payments")
