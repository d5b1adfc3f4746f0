"""Money going back to where it came from: begun here, made by the worker, settled here."""

import logging

from sqlalchemy import update
from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from payment import events
from payment.models import (
    Account,
    EntryReason,
    MethodType,
    Payment,
    PaymentState,
    Refund,
    RefundState,
    move_payment,
)
from payment.use_cases import wallets
from payment.use_cases.timing import backoff

log = logging.getLogger(__name__)


def start_refund(session: Session, payment: Payment, *, reason: str) -> Refund | None:
    """Send all that is left of a completed payment back, exactly once; None when that has begun before."""
    if not move_payment(session, payment, PaymentState.REFUNDING, check_at=None):
        return None
    refund = Refund(
        payment_id=payment.id,
        amount_minor=payment.amount_minor - payment.refunded_minor,
        currency=payment.currency,
        reason=reason[:200],
        state=RefundState.PROCESSING,
        check_at=clock.now(),
        checks=0,
    )
    session.add(refund)
    session.flush()
    wake(session, "refunds")
    return refund


def claim_refund(session: Session, refund_id: str) -> tuple[Refund, Payment] | None:
    """Take a due refund for one attempt: another comes only after the backoff. None when somebody else has it."""
    refund = session.get(Refund, refund_id, with_for_update=True)
    if refund is None or refund.check_at is None or refund.check_at > clock.now():
        return None
    refund.check_at = clock.now() + backoff(refund.checks)
    refund.checks += 1
    payment = session.get(Payment, refund.payment_id)
    assert payment is not None
    return refund, payment


def settle_refund(session: Session, refund: Refund) -> None:
    """The money is back (a wallet's goes back here and now). No-op when settled already."""
    moved = session.execute(
        Refund.moving(refund.id, RefundState.COMPLETED, completed_at=clock.now()),
        execution_options={"synchronize_session": False},
    )
    if not moved.rowcount:  # type: ignore[attr-defined]
        return
    payment = session.scalars(
        update(Payment)
        .where(Payment.id == refund.payment_id)
        .values(refunded_minor=Payment.refunded_minor + refund.amount_minor)
        .returning(Payment),
        execution_options={"synchronize_session": False, "populate_existing": True},
    ).one()
    if payment.refunded_minor == payment.amount_minor:
        move_payment(session, payment, PaymentState.REFUNDED)
    if payment.method_type is MethodType.WALLET:
        wallets.credit(
            session,
            user_id=payment.user_id,
            amount=refund.amount,
            source=Account.SALES,
            reason=EntryReason.REFUND,
            source_id=refund.id,
        )
    session.add(events.payment_refunded(payment, refund))


def give_up_refund(session: Session, refund: Refund, reason: str) -> None:
    """The gateway refuses for good: a person has to decide. The payment stays `refunding`."""
    session.execute(
        Refund.moving(refund.id, RefundState.FAILED),
        execution_options={"synchronize_session": False},
    )
    log.error("refund %s was refused by the gateway: %s", refund.id, reason)
