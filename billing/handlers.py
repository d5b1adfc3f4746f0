"""Events that billing consumes."""

from datetime import datetime
from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from billing.config import Settings
from billing.use_cases import accounts, payments, plans, usage
from common.identity import REVOCATION_HANDLERS
from common.messaging import Event
from common.money import Money


def on_user_created(session: Session, event: Event) -> None:
    settings: Settings = current_app.extensions["sricare_settings"]
    accounts.open_account(
        session,
        user_id=event.subject,
        profile=event.data,
        as_of=event.time,
        currency=settings.currency,
        kind=settings.account_kind,
    )


def on_user_updated(session: Session, event: Event) -> None:
    accounts.update_profile(session, user_id=event.subject, profile=event.data, as_of=event.time)


def on_user_deactivated(session: Session, event: Event) -> None:
    REVOCATION_HANDLERS["user.deactivated"](session, event)
    plans.close_account(session, user_id=event.subject, at=event.time)


def on_payment_completed(session: Session, event: Event) -> None:
    invoice_id = _invoice_of(event.data)
    if invoice_id is not None:
        payments.apply_payment(
            session,
            payment_id=event.data["payment_id"],
            invoice_id=invoice_id,
            amount=Money.model_validate(event.data["amount"]),
            completed_at=datetime.fromisoformat(event.data["completed_at"]),
        )


def on_payment_refunded(session: Session, event: Event) -> None:
    if _invoice_of(event.data) is not None:
        payments.reverse_payment(
            session,
            refund_id=event.data["refund_id"],
            payment_id=event.data["payment_id"],
            amount=Money.model_validate(event.data["amount"]),
        )


def on_service_activated(session: Session, event: Event) -> None:
    data = event.data
    expires_at = data["expires_at"]
    usage.grant_allowances(
        session,
        service_id=data["service_id"],
        user_id=data["user_id"],
        name=data["offering_name"],
        allowances=data["allowances"],
        starts_at=datetime.fromisoformat(data["activated_at"]),
        ends_at=None if expires_at is None else datetime.fromisoformat(expires_at),
    )


def on_service_deactivated(session: Session, event: Event) -> None:
    data = event.data
    usage.end_allowances(session, service_id=data["service_id"], user_id=data["user_id"], at=event.time)


def _invoice_of(data: dict[str, Any]) -> str | None:
    """The invoice that a payment was for; None when it was for something else."""
    reference = data["reference"]
    return str(reference["id"]) if reference["type"] == "invoice" else None


HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_created,
    "user.updated": on_user_updated,
    "user.deactivated": on_user_deactivated,
    "payment.completed": on_payment_completed,
    "payment.refunded": on_payment_refunded,
    "service.activated": on_service_activated,
    "service.deactivated": on_service_deactivated,
}
