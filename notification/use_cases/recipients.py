"""What auth says about users: addresses, language, and that they have gone."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from notification.models import Device, HeldService, Language, Recipient, Webhook


def remember_user(
    session: Session,
    *,
    user_id: str,
    phone: str,
    email: str | None,
    name: str,
    language: Language,
    as_of: datetime,
) -> Recipient:
    """Keep a user's addresses and language, unless newer ones are known. Safe in any order."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is None:
        recipient = Recipient(user_id=user_id, as_of=as_of)
        session.add(recipient)
    elif recipient.as_of > as_of:
        return recipient
    recipient.phone, recipient.email, recipient.name, recipient.language = phone, email, name, language
    recipient.as_of = as_of
    return recipient


def note_barring(session: Session, *, user_id: str, barred: bool, as_of: datetime) -> None:
    """Keep whether a user's account is barred, unless newer is known. Safe in any order. Nothing of who is not
    known."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is not None and (recipient.barred_as_of is None or recipient.barred_as_of <= as_of):
        recipient.barred, recipient.barred_as_of = barred, as_of


def note_service(
    session: Session, *, service_id: str, user_id: str, offering_code: str, active: bool, as_of: datetime
) -> None:
    """Keep what a user holds, unless newer is known. Safe in any order."""
    held = session.get(HeldService, service_id, with_for_update=True)
    if held is None:
        held = HeldService(service_id=service_id, user_id=user_id, as_of=as_of)
        session.add(held)
    elif held.as_of > as_of:
        return
    held.offering_code, held.active, held.as_of = offering_code, active, as_of


def forget_user(session: Session, *, user_id: str, as_of: datetime) -> None:
    """Tell a deactivated user nothing more. Also before the user was known: then nothing of it is kept later.
    Browsers, webhooks and what the user held are forgotten."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is None:
        recipient = Recipient(user_id=user_id, as_of=as_of, name="")
        session.add(recipient)
    recipient.deactivated_at = as_of
    recipient.as_of = max(as_of, recipient.as_of)
    for kind in (Device, Webhook, HeldService):
        session.execute(delete(kind).where(kind.user_id == user_id))
