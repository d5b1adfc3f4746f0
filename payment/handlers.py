"""Events that payment consumes."""

from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from common.identity import REVOCATION_HANDLERS
from common.messaging import Event
from common.money import Money
from payment.config import Settings
from payment.models import ReferenceType
from payment.use_cases import payables, wallets


def _money(value: dict[str, Any]) -> Money:
    return Money(amount_minor=value["amount_minor"], currency=value["currency"])


def on_user_created(session: Session, event: Event) -> None:
    settings: Settings = current_app.extensions["sricare_settings"]
    wallets.open_wallet(session, user_id=event.data["user_id"], currency=settings.wallet_currency)


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


def on_invoice_issued(session: Session, event: Event) -> None:
    payables.open_payable(
        session,
        kind=ReferenceType.INVOICE,
        reference_id=event.data["invoice_id"],
        owner_id=event.data["user_id"],
        amount=_money(event.data["amount_due"]),
    )


def on_invoice_paid(session: Session, event: Event) -> None:
    payables.mark_paid(
        session,
        kind=ReferenceType.INVOICE,
        reference_id=event.data["invoice_id"],
        owner_id=event.data["user_id"],
        amount=_money(event.data["total"]),
        payment_id=event.data["payment_id"],
    )


HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_created,
    "order.created": on_order_created,
    "order.cancelled": on_order_closed,
    "order.failed": on_order_closed,
    "invoice.issued": on_invoice_issued,
    "invoice.paid": on_invoice_paid,
}
