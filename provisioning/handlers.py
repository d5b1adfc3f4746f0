"""Events that provisioning consumes."""

from datetime import datetime

from sqlalchemy.orm import Session

from common.identity import REVOCATION_HANDLERS
from common.messaging import Event
from common.money import Money
from provisioning.use_cases import customers, orders, usage


def on_user_profile(session: Session, event: Event) -> None:
    customers.record_profile(session, user_id=event.subject, phone=event.data["phone"], at=event.time)
    if "active" in event.data.get("changed", ()):
        customers.record_reactivation(session, user_id=event.subject, at=event.time)


def on_user_deactivated(session: Session, event: Event) -> None:
    REVOCATION_HANDLERS["user.deactivated"](session, event)
    customers.record_deactivation(session, user_id=event.subject, at=event.time)


def on_kyc_approved(session: Session, event: Event) -> None:
    customers.record_kyc_approval(session, user_id=event.data["user_id"], at=event.time)


def on_account_barred(session: Session, event: Event) -> None:
    customers.set_barred(session, user_id=event.data["user_id"], barred=True, at=event.time)


def on_account_restored(session: Session, event: Event) -> None:
    customers.set_barred(session, user_id=event.data["user_id"], barred=False, at=event.time)


def on_allowance_used(session: Session, event: Event) -> None:
    data = event.data
    usage.show_used(
        session,
        service_id=data["service_id"],
        kind=data["kind"],
        used=data["used"],
        until=None if data["until"] is None else datetime.fromisoformat(data["until"]),
    )


def on_payment_completed(session: Session, event: Event) -> None:
    order_id = _order_id(event)
    if order_id is not None:
        orders.record_payment(
            session,
            order_id=order_id,
            user_id=event.data["user_id"],
            payment_id=event.data["payment_id"],
            amount=Money.model_validate(event.data["amount"]),
        )


def on_payment_failed(session: Session, event: Event) -> None:
    order_id = _order_id(event)
    if order_id is not None:
        orders.record_payment_failure(
            session, order_id=order_id, user_id=event.data["user_id"], reason=event.data["reason"]
        )


def on_payment_refunded(session: Session, event: Event) -> None:
    order_id = _order_id(event)
    if order_id is not None:
        orders.record_refund(session, order_id=order_id, user_id=event.data["user_id"])


def _order_id(event: Event) -> str | None:
    """The order that a payment is for; None when it is for something else."""
    reference = event.data["reference"]
    return str(reference["id"]) if reference["type"] == "order" else None


HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_profile,
    "user.updated": on_user_profile,
    "user.deactivated": on_user_deactivated,
    "kyc.approved": on_kyc_approved,
    "account.barred": on_account_barred,
    "account.restored": on_account_restored,
    "allowance.used": on_allowance_used,
    "payment.completed": on_payment_completed,
    "payment.failed": on_payment_failed,
    "payment.refunded": on_payment_refunded,
}
