"""Events that chat consumes: who its users are, and what the bot may tell them."""

from datetime import date, datetime

from sqlalchemy.orm import Session

from chat.use_cases import accounts, conversations
from common.identity import REVOCATION_HANDLERS
from common.messaging import Event

NO_MONEY = {"amount_minor": 0}


def on_user_named(session: Session, event: Event) -> None:
    conversations.record_user(
        session,
        user_id=event.subject,
        name=event.data["name"],
        language=event.data.get("language"),
        at=event.time,
    )


def on_invoice_due(session: Session, event: Event) -> None:
    """`invoice.issued`, `invoice.reopened`, `invoice.overdue`: something is to be paid."""
    _invoice(session, event, event.type.removeprefix("invoice."), event.data["amount_due"])


def on_invoice_settled(session: Session, event: Event) -> None:
    """`invoice.paid`, `invoice.voided`: nothing is."""
    _invoice(session, event, event.type.removeprefix("invoice."), event.data["total"] | NO_MONEY)


def _invoice(session: Session, event: Event, state: str, amount_due: accounts.Money) -> None:
    due_on = event.data.get("due_on")
    accounts.record_invoice(
        session,
        invoice_id=event.data["invoice_id"],
        user_id=event.data["user_id"],
        number=event.data["number"],
        state=state,
        amount_due=amount_due,
        due_on=date.fromisoformat(due_on) if due_on else None,
        as_of=event.time,
    )


def on_account_barred(session: Session, event: Event) -> None:
    accounts.record_bar(session, user_id=event.subject, level=event.data["level"], as_of=event.time)


def on_account_restored(session: Session, event: Event) -> None:
    accounts.record_bar(session, user_id=event.subject, level=None, as_of=event.time)


def on_wallet_entry(session: Session, event: Event) -> None:
    accounts.record_balance(
        session,
        user_id=event.data["user_id"],
        balance=event.data["balance"],
        entry_id=event.data["entry_id"],
        as_of=event.time,
    )


def on_order_created(session: Session, event: Event) -> None:
    _order(session, event, event.data["state"])


def on_order_ended(session: Session, event: Event) -> None:
    """`order.cancelled`, `order.failed`."""
    _order(session, event, event.type.removeprefix("order."))


def _order(session: Session, event: Event, state: str) -> None:
    accounts.record_order(
        session,
        order_id=event.data["order_id"],
        user_id=event.data["user_id"],
        number=event.data["number"],
        offering_name=event.data["offering_name"],
        state=state,
        as_of=event.time,
    )


def on_service_activated(session: Session, event: Event) -> None:
    data = event.data
    accounts.record_order(
        session,
        order_id=data["order_id"],
        user_id=data["user_id"],
        number=data["order_number"],
        offering_name=data["offering_name"],
        state="completed",
        as_of=event.time,
    )
    accounts.record_service(
        session,
        service_id=data["service_id"],
        user_id=data["user_id"],
        offering_name=data["offering_name"],
        category=data["category"],
        allowances=data["allowances"],
        expires_at=datetime.fromisoformat(data["expires_at"]) if data["expires_at"] else None,
        active=True,
        as_of=event.time,
    )


def on_service_deactivated(session: Session, event: Event) -> None:
    accounts.record_service(
        session,
        service_id=event.data["service_id"],
        user_id=event.data["user_id"],
        offering_name=event.data["offering_name"],
        active=False,
        as_of=event.time,
    )


def on_allowance_used(session: Session, event: Event) -> None:
    until = event.data["until"]
    accounts.record_usage(
        session,
        service_id=event.data["service_id"],
        kind=event.data["kind"],
        used=event.data["used"],
        until=datetime.fromisoformat(until) if until else None,
        as_of=event.time,
    )


HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_named,
    "user.updated": on_user_named,
    **dict.fromkeys(("invoice.issued", "invoice.reopened", "invoice.overdue"), on_invoice_due),
    **dict.fromkeys(("invoice.paid", "invoice.voided"), on_invoice_settled),
    "account.barred": on_account_barred,
    "account.restored": on_account_restored,
    "allowance.used": on_allowance_used,
    **dict.fromkeys(("wallet.credited", "wallet.debited", "wallet.low_balance"), on_wallet_entry),
    "order.created": on_order_created,
    **dict.fromkeys(("order.cancelled", "order.failed"), on_order_ended),
    "service.activated": on_service_activated,
    "service.deactivated": on_service_deactivated,
}
