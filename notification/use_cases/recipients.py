"""What auth says about users: addresses, language, and that they have gone."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from notification.models import Device, Language, Recipient, Webhook


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


def forget_user(session: Session, *, user_id: str, as_of: datetime) -> None:
    """Tell a deactivated user nothing more. Also before the user was known: then nothing of it is kept later.
    Browsers and webhooks are forgotten."""
    recipient = session.get(Recipient, user_id, with_for_update=True)
    if recipient is None:
        recipient = Recipient(user_id=user_id, as_of=as_of, name="")
        session.add(recipient)
    recipient.deactivated_at = as_of
    recipient.as_of = max(as_of, recipient.as_of)
    for kind in (Device, Webhook):
        session.execute(delete(kind).where(kind.user_id == user_id))
