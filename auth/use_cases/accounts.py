"""Accounts: opening, profile, closing."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from auth import events
from auth.errors import EmailAlreadyRegistered, PhoneAlreadyRegistered
from auth.models import Language, Line, Role, User
from auth.use_cases.sessions import end_all_sessions
from common import clock
from common.db import hold
from common.errors import NotFound
from common.identity import revoke


def register_user(
    session: Session,
    *,
    user_id: str,
    phone: str,
    email: str | None,
    name: str,
    language: Language,
    password_hash: str,
    roles: tuple[Role, ...] = (Role.CUSTOMER,),
) -> User:
    """A new account. Raises PhoneAlreadyRegistered, EmailAlreadyRegistered; a lost race raises IntegrityError."""
    if phone_taken(session, phone):
        raise PhoneAlreadyRegistered()
    if email is not None:
        _refuse_taken_email(session, email)
    user = User(
        id=user_id,
        phone=phone,
        email=email,
        name=name,
        language=language,
        password_hash=password_hash,
        roles=[role.value for role in roles],
        active=True,
        created_at=clock.now(),
    )
    session.add(user)
    session.flush()
    session.add(events.user_created(user))
    return user


def phone_taken(session: Session, phone: str, *, but_line_of: str = "") -> bool:
    """Whether a number is an account's own, or a line that an account (other than one) has shown to be its. Until this
    commits nobody else can make it either: each table has its unique key, but the two have none together."""
    hold(session, f"number {phone}")
    if session.scalar(select(User.id).where(User.phone == phone)) is not None:
        return True
    line = select(Line.id).where(
        Line.msisdn == phone, Line.verified_at.is_not(None), Line.user_id != but_line_of
    )
    return session.scalar(line) is not None


def _refuse_taken_email(session: Session, email: str) -> None:
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise EmailAlreadyRegistered()


def lock_user(session: Session, user_id: str) -> User:
    """The account, locked until commit. Raises NotFound."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound()
    return user


def update_profile(
    session: Session, *, user_id: str, name: str | None, language: Language | None, email: str | None
) -> User:
    """Change what is given; emits `user.updated` when anything differs. A new email address is not verified yet.

    Raises EmailAlreadyRegistered.
    """
    user = lock_user(session, user_id)
    changed = []
    if name is not None and name != user.name:
        user.name = name
        changed.append("name")
    if language is not None and language != user.language:
        user.language = language
        changed.append("language")
    if email is not None and email != user.email:
        _refuse_taken_email(session, email)
        user.email, user.email_verified_at = email, None
        changed.append("email")
    if changed:
        session.flush()
        session.add(events.user_updated(user, changed))
    return user


def deactivate_user(session: Session, *, user_id: str, reason: str) -> User:
    """Close an account: no sign-in, every token refused everywhere. Safe to repeat. Raises NotFound."""
    user = lock_user(session, user_id)
    if user.active:
        user.active = False
        end_all_sessions(session, user_id=user_id, reason=reason)
        revoke(session, f"user:{user_id}", clock.now())
        session.add(events.user_deactivated(user, reason))
    return user


def release_contacts(session: Session, user: User) -> None:
    """A closed account lets go of its number, address and lines, so that whom the operator gives the number next can
    open one. Its own trail keeps them. Raises Conflict while the account is open. Safe to repeat."""
    user.release_contacts()
    session.execute(delete(Line).where(Line.user_id == user.id))


def reactivate_user(session: Session, user: User) -> None:
    """Open a closed account again. Raises PhoneAlreadyRegistered when its number is another's by now."""
    if user.released_phone is not None:
        if phone_taken(session, user.released_phone):
            raise PhoneAlreadyRegistered()
        taken = session.scalar(select(User.id).where(User.email == user.released_email))
        user.take_back(email=taken is None)
    user.active = True
