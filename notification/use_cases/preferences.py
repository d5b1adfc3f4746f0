"""What customers choose: by category and channel, language, quiet hours; unsubscribing by link and by STOP."""

import secrets
import string
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from notification.errors import CategoryMandatory
from notification.models import MANDATORY, Category, Channel, Language, Preference, Recipient

OFF_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "නවත්වන්න", "நிறுத்து"})
ON_WORDS = frozenset({"START", "UNSTOP", "අරඹන්න", "தொடங்கு"})
_SMS = Channel.SMS.value


def change_preferences(
    session: Session,
    *,
    user_id: str,
    channels: Mapping[Category, Mapping[str, bool]],
    language: Language | None,
) -> Preference:
    """Switch what is named, leave the rest. Raises CategoryMandatory when something is switched off that must stay on.

    A language other than the profile's is kept here; the profile's own is followed again.
    """
    refused = [
        f"categories.{category.value}" for category in MANDATORY & channels.keys()
        if not all(channels[category].values())
    ]  # fmt: skip
    if refused:
        raise CategoryMandatory(
            errors=[{"field": field, "message": "cannot be switched off"} for field in refused]
        )
    preference = _preference(session, user_id)
    for category, wished in channels.items():
        for channel, on in wished.items():
            preference.switch(category, channel, on=on)
    if language is not None:
        recipient = session.get(Recipient, user_id)
        profile = recipient.language if recipient is not None else None
        preference.language = None if language is profile else language
    return preference


def set_quiet_hours(
    preference: Preference, *, start: str | None, end: str | None, timezone: str | None
) -> None:
    """From and until as HH:MM in a timezone; None and None: no quiet hours."""
    preference.quiet_from, preference.quiet_until = start, end
    preference.timezone = timezone or preference.timezone


def unsubscribe_token(recipient: Recipient) -> str:
    """What a recipient's unsubscribe links carry; made at the first need, inside the transaction that sends."""
    recipient.unsubscribe_token = recipient.unsubscribe_token or secrets.token_urlsafe(24)
    return recipient.unsubscribe_token


def unsubscribe(session: Session, *, token: str, category: Category) -> None:
    """One click in an e-mail: no more e-mail of that category. Safe to repeat. Raises NotFound."""
    recipient = session.scalars(select(Recipient).where(Recipient.unsubscribe_token == token)).first()
    if recipient is None or category in MANDATORY:
        raise NotFound()
    _preference(session, recipient.user_id).switch(category, Channel.EMAIL.value, on=False)


def hear_keyword(session: Session, *, phone: str, text: str) -> bool | None:
    """STOP and START by SMS, for everyone with that number; whether SMS are on after it, None for other words."""
    word = " ".join(text.split()).strip(".!").upper()
    if word not in OFF_WORDS | ON_WORDS:
        return None
    senders = select(Recipient.user_id).where(Recipient.phone == _international(phone))
    for user_id in session.scalars(senders):
        preference = _preference(session, user_id)
        for category in frozenset(Category) - MANDATORY:
            preference.switch(category, _SMS, on=word in ON_WORDS)
    return word in ON_WORDS


def _international(phone: str) -> str:
    """As gateways write a Sri Lankan number, with or without its country: E.164."""
    digits = "".join(char for char in phone if char in string.digits)
    if digits.startswith("00"):
        return f"+{digits[2:]}"
    return f"+94{digits[1:]}" if digits.startswith("0") else f"+{digits}"


def _preference(session: Session, user_id: str) -> Preference:
    preference = session.get(Preference, user_id, with_for_update=True)
    if preference is None:
        preference = Preference(user_id=user_id, switched_off=[], timezone="Asia/Colombo")
        session.add(preference)
    return preference
