"""Events that payment consumes."""

from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from common.identity import REVOCATION_HANDLERS
from common.messaging import Event
from common.money import Money
from payment.config import Settings
from payment.models import ReferenceType
from payment.use_cases import customers, payables, wallets


def _money(value: dict[str, Any]) -> Money:
    return Money(amount_minor=value["amount_minor"], currency=value["currency"])


def on_user_created(session: Session, event: Event) -> None:
    settings: Settings = current_app.extensions["sricare_settings"]
    wallets.open_wallet(session, user_id=event.data["user_id"], currency=settings.wallet_currency)
    on_user_updated(session, event)


def on_user_updated(session: Session, event: Event) -> None:
    customers.remember_customer(
        session, user_id=event.data["user_id"], phone=event.data["phone"], as_of=event.time
    )


def on_user_gone(session: Session, event: Event) -> None:
    REVOCATION_HANDLERS["user.deactivated"](session, event)
    customers.forget_customer(session, user_id=event.data["user_id"], as_of=event.time)
    wallets.close_wallets(session, user_id=event.data["user_id"])


def on_order_created(session: Session, event: Event) -> None:
    payables.open_payable(
        session,
        kind=ReferenceType.ORDER,
        reference_id=event.data["order_id"],
        owner_id=event.data["user_id"],
        amount=_money(event.data["total"]),
    )


def on_order_closed(session: Session, event: Event) -> None:
    payables.close_payable(
        session,
        kind=ReferenceType.ORDER,
        reference_id=event.data["order_id"],
        owner_id=event.data["user_id"],
        amount=_money(event.data["total"]),
        reason=f"{event.type}: {event.data['reason']}",
    )


def on_invoice_due(session: Session, event: Event) -> None:
    """Issued, owed again after a refund, or owed in another amount."""
    _update_invoice(session, event, due=_money(event.data["amount_due"]))


def on_invoice_voided(session: Session, event: Event) -> None:
    """Billing keeps what was paid on it as the customer's credit: nothing goes back here."""
    _update_invoice(session, event, due=_money(event.data["total"]), closed=event.type)


def on_invoice_paid(session: Session, event: Event) -> None:
    nothing = _money(event.data["total"] | {"amount_minor": 0})
    _update_invoice(session, event, due=nothing, paid_by=event.data["payment_id"])


def _update_invoice(session: Session, event: Event, **change: Any) -> None:
    payables.update_invoice(
        session,
        reference_id=event.data["invoice_id"],
        owner_id=event.data["user_id"],
        as_of=event.time,
        **change,
    )


HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_created,
    "user.updated": on_user_updated,
    "user.deactivated": on_user_gone,
    "order.created": on_order_created,
    "order.cancelled": on_order_closed,
    "order.failed": on_order_closed,
    "invoice.issued": on_invoice_due,
    "invoice.reopened": on_invoice_due,
    "invoice.credited": on_invoice_due,
    "invoice.voided": on_invoice_voided,
    "invoice.paid": on_invoice_paid,
}
