"""Money going back to where it came from: begun here, made by the worker, settled here."""

import logging

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.errors import NotFound
from common.money import Money
from payment import events
from payment.errors import NotRefundable, RefundTooLarge, WalletTooLow
from payment.models import (
    Account,
    CaseKind,
    EntryReason,
    MethodType,
    Payment,
    PaymentState,
    ReferenceType,
    Refund,
    RefundState,
    move_payment,
)
from payment.use_cases import wallets
from payment.use_cases.cases import open_case
from payment.use_cases.timing import backoff

log = logging.getLogger(__name__)

CAPTURED = (PaymentState.COMPLETED, PaymentState.REFUNDING)


def request_refund(
    session: Session, *, payment_id: str, refund_id: str, amount: Money | None, reason: str, requested_by: str
) -> Refund:
    """A member of staff gives back part or (without amount) all that is left of a payment; several add up.

    Raises NotFound, NotRefundable, RefundTooLarge, WalletTooLow (a top-up that is spent).
    """
    payment = session.get(Payment, payment_id, with_for_update=True)
    if payment is None:
        raise NotFound()
    left = _left(session, payment)
    if payment.state not in CAPTURED or left == 0:
        raise NotRefundable()
    wanted = amount or Money(amount_minor=left, currency=payment.currency)
    if wanted.currency != payment.currency or wanted.amount_minor > left:
        raise RefundTooLarge(f"{Money(amount_minor=left, currency=payment.currency)} can be refunded")
    return _begin(session, payment, wanted, reason, refund_id=refund_id, requested_by=requested_by)


def start_refund(session: Session, payment: Payment, *, reason: str) -> Refund | None:
    """Send all that is left of a captured payment back, exactly once; None when that has begun before."""
    found = session.get(Payment, payment.id, with_for_update=True, populate_existing=True)
    assert found is not None
    left = _left(session, found)
    if found.state not in CAPTURED or left == 0:
        return None
    refund = _begin(session, found, Money(amount_minor=left, currency=found.currency), reason)
    payment.state = PaymentState.REFUNDING
    return refund


def return_stray_capture(session: Session, payment: Payment) -> None:
    """The gateway captured what was called off or declined: it goes back by itself, and a person is told.

    Nobody was told of the money, so nobody is told of its return. No-op when that has begun before.
    """
    if not move_payment(session, payment, PaymentState.REFUNDING, check_at=None):
        return
    log.error("payment %s failed (%s) but is captured at the gateway", payment.id, payment.failure_reason)
    wallets.post_capture(session, payment)
    open_case(
        session,
        CaseKind.CAPTURED_AFTER_FAILURE,
        payment_id=payment.id,
        subject_id=payment.id,
        detail=f"captured after it had failed: {payment.failure_reason}"[:200],
    )
    _add(session, payment, payment.amount, "captured_after_failure", ids.new_id(), None)


def _left(session: Session, payment: Payment) -> int:
    """What neither went back nor is on its way; refused refunds have to be resolved before they count as left."""
    begun = session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(Refund.payment_id == payment.id)
    )
    return payment.amount_minor - int(begun or 0)


def _begin(
    session: Session,
    payment: Payment,
    amount: Money,
    reason: str,
    *,
    refund_id: str | None = None,
    requested_by: str | None = None,
) -> Refund:
    refund_id = refund_id or ids.new_id()
    if payment.reference_type is ReferenceType.TOP_UP and not wallets.take_back(
        session, payment.user_id, amount, refund_id
    ):
        raise WalletTooLow()
    move_payment(session, payment, PaymentState.REFUNDING, check_at=None)
    return _add(session, payment, amount, reason, refund_id, requested_by)


def _add(
    session: Session, payment: Payment, amount: Money, reason: str, refund_id: str, requested_by: str | None
) -> Refund:
    refund = Refund(
        id=refund_id,
        payment_id=payment.id,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        reason=reason[:200],
        requested_by=requested_by,
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
    _rest(session, payment)
    if payment.method_type is MethodType.WALLET:
        wallets.credit(
            session,
            user_id=payment.user_id,
            amount=refund.amount,
            source=Account.SALES,
            reason=EntryReason.REFUND,
            source_id=refund.id,
        )
    elif payment.reference_type is not ReferenceType.TOP_UP or payment.failure_reason is not None:
        wallets.post_return(session, refund)
    if payment.failure_reason is None:
        session.add(events.payment_refunded(payment, refund))


def _rest(session: Session, payment: Payment) -> None:
    """After a refund: all is back, or part of it and nothing more is on its way."""
    if payment.refunded_minor == payment.amount_minor:
        move_payment(session, payment, PaymentState.REFUNDED)
        return
    open_ones = select(Refund.id).where(
        Refund.payment_id == payment.id, Refund.state != RefundState.COMPLETED
    )
    if session.scalar(open_ones.limit(1)) is None:
        move_payment(session, payment, PaymentState.COMPLETED)


def give_up_refund(session: Session, refund: Refund, reason: str) -> None:
    """The gateway refuses for good: a person has to decide. The payment stays `refunding`. No-op when settled."""
    moved = session.execute(
        Refund.moving(refund.id, RefundState.FAILED),
        execution_options={"synchronize_session": False},
    )
    if not moved.rowcount:  # type: ignore[attr-defined]
        return
    log.error("refund %s was refused by the gateway: %s", refund.id, reason)
    open_case(
        session,
        CaseKind.REFUND_REFUSED,
        payment_id=refund.payment_id,
        subject_id=refund.id,
        detail=reason[:200],
    )


def retry_refund(session: Session, refund_id: str) -> None:
    """A person wants a refused refund tried again, under the same key.

    Raises NotRefundable for one that was accepted and failed later: it is told and booked, and can be paid by hand.
    """
    again = session.execute(
        update(Refund)
        .where(Refund.id == refund_id, Refund.state == RefundState.FAILED)
        .values(state=RefundState.PROCESSING, check_at=clock.now(), checks=0, retries=Refund.retries + 1),
        execution_options={"synchronize_session": False},
    )
    if not again.rowcount:  # type: ignore[attr-defined]
        raise NotRefundable("The gateway had accepted this refund")
    wake(session, "refunds")


def pay_out_by_hand(session: Session, refund_id: str) -> None:
    """A person has sent the money of a refund that the gateway did not make in another way. No-op the second time."""
    refund = session.get(Refund, refund_id, with_for_update=True)
    if refund is None or refund.by_hand:
        return
    refund.by_hand = True
    if refund.state is RefundState.FAILED:
        refund.state = RefundState.PROCESSING
        session.flush()
        settle_refund(session, refund)
    wallets.post_return_by_hand(session, refund)
