"""What a gateway's callback makes us do: look again, or tell a person."""

import logging

from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from payment.gateway import Notice, NoticeKind
from payment.models import PENDING, CaseKind, Payment, PaymentState, Refund, RefundState
from payment.use_cases.cases import open_case

log = logging.getLogger(__name__)


def take_notice(session: Session, gateway: str, notice: Notice) -> None:
    """Safe to repeat and in any order: outcomes are asked for, never taken from the notice."""
    if notice.kind in (NoticeKind.REFUND, NoticeKind.REFUND_FAILED):
        _about_refund(session, notice)
        return
    payment = session.get(Payment, notice.key, with_for_update=True) if ids.is_id(notice.key) else None
    if payment is None or payment.gateway != gateway:
        log.warning("%s tells of a charge that is not ours", gateway)
    elif notice.kind is NoticeKind.CHARGEBACK:
        open_case(
            session,
            CaseKind.CHARGEBACK,
            payment_id=payment.id,
            subject_id=payment.id,
            detail=f"the customer's bank takes it back: {notice.detail}",
        )
    elif payment.state in (*PENDING, PaymentState.FAILED) and not payment.awaits_reference:
        payment.check_at = clock.now()
        wake(session, "payments")


def _about_refund(session: Session, notice: Notice) -> None:
    refund = session.get(Refund, notice.key, with_for_update=True) if ids.is_id(notice.key) else None
    if refund is None:
        log.warning("a gateway tells of a refund that is not ours")
    elif refund.state is RefundState.PROCESSING:
        refund.check_at = clock.now()
        wake(session, "refunds")
    elif refund.state is RefundState.COMPLETED and notice.kind is NoticeKind.REFUND_FAILED:
        open_case(
            session,
            CaseKind.REFUND_REFUSED,
            payment_id=refund.payment_id,
            subject_id=refund.id,
            detail=f"failed after it had been accepted: {notice.detail}",
        )
