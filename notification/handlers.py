"""Events that notification consumes."""

from flask import current_app
from sqlalchemy.orm import Session

from common.identity.revocations import REVOCATION_HANDLERS, on_user_deactivated
from common.messaging import Event
from notification.config import Settings
from notification.models import Language
from notification.use_cases.recipients import forget_user, note_barring, note_service, remember_user
from notification.use_cases.sending import end_messages_to
from notification.use_cases.storms import Rules
from notification.use_cases.telling import notify


def on_user_created(session: Session, event: Event) -> None:
    _remember(session, event)
    notify(session, event, _rules())


def on_user_updated(session: Session, event: Event) -> None:
    _remember(session, event)


def on_deactivated(session: Session, event: Event) -> None:
    on_user_deactivated(session, event)
    forget_user(session, user_id=event.data["user_id"], as_of=event.time)
    end_messages_to(session, event.data["user_id"])


def on_customer_event(session: Session, event: Event) -> None:
    notify(session, event, _rules())


def on_account_event(session: Session, event: Event) -> None:
    notify(session, event, _rules())
    note_barring(
        session,
        user_id=event.data["user_id"],
        barred=event.type == "account.barred",
        as_of=event.time,
    )


def on_service_event(session: Session, event: Event) -> None:
    notify(session, event, _rules())
    note_service(
        session,
        service_id=event.data["service_id"],
        user_id=event.data["user_id"],
        offering_code=event.data["offering_code"],
        active=event.type == "service.activated",
        as_of=event.time,
    )


def _rules() -> Rules:
    settings: Settings = current_app.extensions["sricare_settings"]
    return settings.rules


def _remember(session: Session, event: Event) -> None:
    remember_user(
        session,
        user_id=event.data["user_id"],
        phone=event.data["phone"],
        email=event.data["email"],
        name=event.data["name"],
        language=Language(event.data["language"]),
        as_of=event.time,
    )


TOLD_TO_CUSTOMERS = (
    "user.phone.verification.requested",
    "user.email.verification.requested",
    "user.password.reset.requested",
    "user.password.changed",
    "user.phone.changed",
    "user.locked_out",
    "kyc.approved",
    "kyc.rejected",
    "order.created",
    "order.cancelled",
    "order.failed",
    "service.activated",
    "service.deactivated",
    "service.expiring",
    "invoice.issued",
    "invoice.paid",
    "invoice.reminder",
    "invoice.overdue",
    "invoice.credited",
    "usage.threshold_reached",
    "invoice.reopened",
    "invoice.voided",
    "account.barred",
    "account.restored",
    "payment.completed",
    "payment.failed",
    "payment.action_required",
    "payment.refunded",
    "wallet.credited",
    "wallet.debited",
    "wallet.low_balance",
    "chat.message.missed",
    "chat.transcript.requested",
    "ticket.created",
    "ticket.updated",
    "ticket.resolved",
)

HANDLERS = {
    **REVOCATION_HANDLERS,
    "user.created": on_user_created,
    "user.updated": on_user_updated,
    "user.deactivated": on_deactivated,
    **dict.fromkeys(TOLD_TO_CUSTOMERS, on_customer_event),
    **dict.fromkeys(("account.barred", "account.restored"), on_account_event),
    **dict.fromkeys(("service.activated", "service.deactivated"), on_service_event),
}
