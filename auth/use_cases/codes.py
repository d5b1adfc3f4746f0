"""One-time codes: made, told by event only, guessed at."""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from auth import events
from auth.errors import NothingToVerify
from auth.models import Channel, Code, Purpose, User
from auth.use_cases.accounts import lock_user
from auth.vault import Vault, new_code
from common import clock, ids
from common.db.session import NewEvent


def send_code(
    session: Session,
    vault: Vault,
    *,
    user: User | None,
    purpose: Purpose,
    target: str,
    life: timedelta,
    tries: int,
) -> datetime:
    """Make a code for a number or address and have it told; the ones before it are dead. Returns its end.

    Without a user the code is made, and told to nobody.
    """
    earlier = (Code.target == target, Code.purpose == purpose, Code.spent_at.is_(None))
    mine = (Code.user_id == user.id,) if user is not None else ()
    session.execute(update(Code).where(*earlier, *mine).values(spent_at=clock.now()))
    code, made = (
        new_code(),
        Code(
            id=ids.new_id(),
            user_id=user.id if user else None,
            purpose=purpose,
            target=target,
            tries_left=tries,
            expires_at=clock.now() + life,
        ),
    )
    made.hash = vault.digest(made.id, code)
    session.add(made)
    if user is not None:
        session.add(_event(user, purpose, target, code, made.expires_at))
    return made.expires_at


def _event(user: User, purpose: Purpose, target: str, code: str, expires_at: datetime) -> NewEvent:
    channel = Channel.EMAIL if "@" in target else Channel.SMS
    tell = {
        Purpose.PHONE_VERIFICATION: events.user_phone_verification_requested,
        Purpose.LINE_VERIFICATION: events.user_phone_verification_requested,
        Purpose.PHONE_CHANGE: events.user_phone_verification_requested,
        Purpose.EMAIL_VERIFICATION: events.user_email_verification_requested,
        Purpose.PASSWORD_RESET: events.user_password_reset_requested,
    }
    return tell[purpose](user, channel, target, code, expires_at)


def guess_code(
    session: Session, vault: Vault, *, purpose: Purpose, target: str, code: str, user_id: str | None = None
) -> Code | None:
    """The code's row when it is right (it is spent now), else None: commit either way, a wrong guess costs a try."""
    wanted = select(Code).where(Code.target == target, Code.purpose == purpose)
    if user_id is not None:
        wanted = wanted.where(Code.user_id == user_id)
    found = session.scalar(wanted.order_by(Code.id.desc()).limit(1).with_for_update())
    if found is None or not found.guess(vault.digest(found.id, code)):
        return None
    return found


def target_to_verify(user: User, channel: Channel) -> str:
    """The user's number or address that is not verified yet. Raises NothingToVerify."""
    sms = channel is Channel.SMS
    target = user.phone if sms else user.email
    verified_at = user.phone_verified_at if sms else user.email_verified_at
    if target is None or verified_at is not None:
        raise NothingToVerify()
    return target


def mark_verified(session: Session, *, user_id: str, channel: Channel, target: str) -> User:
    """The user has shown that the number or address is theirs. Raises NothingToVerify when it is no longer that."""
    user = lock_user(session, user_id)
    if target_to_verify(user, channel) != target:
        raise NothingToVerify()
    if channel is Channel.SMS:
        user.phone_verified_at = clock.now()
    else:
        user.email_verified_at = clock.now()
    session.add(events.user_verified(user, "phone" if channel is Channel.SMS else "email", target))
    return user
