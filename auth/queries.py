"""Reads of auth."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, bindparam, or_, select
from sqlalchemy.orm import Session, selectinload

from auth.models import (
    Address,
    AuditEntry,
    KycDocument,
    KycState,
    KycSubmission,
    Line,
    LoginSession,
    MfaChallenge,
    Passkey,
    Totp,
    User,
)
from common import ids
from common.db import Found, Page, PageQuery, Runner, Statement, fetch_page
from common.errors import NotFound


def find_login(session: Session, *, phone: str | None, email: str | None) -> User | None:
    """The account that a number or address names."""
    named = User.phone == phone if phone is not None else User.email == email
    return session.scalar(select(User).where(named))


_USERS, _TOTP = cast(Table, User.__table__), cast(Table, Totp.__table__)
_SIGN_IN = select(_USERS, _TOTP.c.confirmed_at.is_not(None).label("second_factor")).outerjoin(_TOTP)
_BY_PHONE = Statement(_SIGN_IN.where(_USERS.c.phone == bindparam("name")))
_BY_EMAIL = Statement(_SIGN_IN.where(_USERS.c.email == bindparam("name")))
"""Built once, and one statement for everybody: a sign-in costs the same whatever there is."""


def find_sign_in(connection: Runner, *, phone: str | None, email: str | None) -> Found | None:
    """The columns of `users` of the account that a sign-in names, and `second_factor`: whether an app is in force."""
    statement = _BY_PHONE if phone is not None else _BY_EMAIL
    return statement.first(connection, {"name": phone or email})


_BY_ID = select(_USERS).where(_USERS.c.id == bindparam("user_id"))


def get_profile(connection: Connection, user_id: str) -> Row[Any]:
    """All columns of `users`: what most pages of an app ask for first. Raises NotFound."""
    row = connection.execute(_BY_ID, {"user_id": user_id}).first()
    if row is None:
        raise NotFound()
    return row


def get_user(session: Session, user_id: str) -> User:
    """Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound()
    return user


def proved_at(session: Session, session_id: str) -> datetime | None:
    """When the user of a session last showed who they are."""
    return session.scalar(select(LoginSession.proved_at).where(LoginSession.id == session_id))


def has_app(session: Session, user_id: str) -> bool:
    """Whether an authenticator app is in force."""
    row = session.get(Totp, user_id)
    return row is not None and row.confirmed_at is not None


def challenged_user(session: Session, token_hash: str) -> str | None:
    """Whose sign-in waits for a second factor."""
    return session.scalar(select(MfaChallenge.user_id).where(MfaChallenge.hash == token_hash))


def list_sessions(session: Session, user_id: str, query: PageQuery) -> Page[LoginSession]:
    """Live sessions, newest first."""
    live = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    return fetch_page(session, live, LoginSession.id, query)


def list_addresses(session: Session, user_id: str, query: PageQuery) -> Page[Address]:
    return fetch_page(session, select(Address).where(Address.user_id == user_id), Address.id, query)


def get_address(session: Session, user_id: str, address_id: str) -> Address:
    """Raises NotFound, for another's too."""
    address = session.get(Address, address_id)
    if address is None or address.user_id != user_id:
        raise NotFound()
    return address


def list_lines(session: Session, user_id: str, query: PageQuery) -> Page[Line]:
    return fetch_page(session, select(Line).where(Line.user_id == user_id), Line.id, query)


def list_passkeys(session: Session, user_id: str, query: PageQuery) -> Page[Passkey]:
    return fetch_page(session, select(Passkey).where(Passkey.user_id == user_id), Passkey.id, query)


def credential_ids(session: Session, user_id: str) -> list[str]:
    return list(session.scalars(select(Passkey.credential_id).where(Passkey.user_id == user_id)))


def find_passkey(session: Session, credential_id: str) -> Passkey | None:
    return session.scalar(select(Passkey).where(Passkey.credential_id == credential_id))


def latest_kyc(session: Session, user_id: str) -> KycSubmission:
    """Raises NotFound."""
    newest = select(KycSubmission).where(KycSubmission.user_id == user_id).order_by(KycSubmission.id.desc())
    found = session.scalar(newest.limit(1).options(selectinload(KycSubmission.documents)))
    if found is None:
        raise NotFound()
    return found


def list_kyc(session: Session, state: KycState | None, query: PageQuery) -> Page[KycSubmission]:
    found = select(KycSubmission).options(selectinload(KycSubmission.documents))
    if state is not None:
        found = found.where(KycSubmission.state == state)
    return fetch_page(session, found, KycSubmission.id, query)


def get_document(session: Session, submission_id: str, document_id: str) -> KycDocument:
    """Raises NotFound."""
    document = session.get(KycDocument, document_id)
    if document is None or document.submission_id != submission_id:
        raise NotFound()
    return document


def search_users(session: Session, text: str | None, phone: str | None, query: PageQuery) -> Page[User]:
    """Accounts whose name, address or number contains `text`, or that have the number `phone`, themselves or as a
    verified line, or had it when they were closed."""
    found = select(User)
    if text is not None:
        holders = select(Line.user_id).where(Line.msisdn == phone, Line.verified_at.is_not(None))
        found = found.where(
            or_(
                User.name.icontains(text, autoescape=True),
                User.email.icontains(text, autoescape=True),
                User.phone.contains(text, autoescape=True),
                User.released_phone.contains(text, autoescape=True),
                *((User.phone == phone, User.released_phone == phone, User.id.in_(holders)) if phone else ()),
                *((User.id == text,) if ids.is_id(text) else ()),
            )
        )
    return fetch_page(session, found, User.id, query)


def list_audit(
    session: Session,
    query: PageQuery,
    *,
    user_id: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Page[AuditEntry]:
    """Entries about a user or by them as staff, newest first. `action` may end in `*`."""
    found = select(AuditEntry)
    if user_id is not None:
        found = found.where(or_(AuditEntry.user_id == user_id, AuditEntry.actor_id == user_id))
    if action is not None:
        if action.endswith("*"):
            found = found.where(AuditEntry.action.startswith(action[:-1], autoescape=True))
        else:
            found = found.where(AuditEntry.action == action)
    if since is not None:
        found = found.where(AuditEntry.recorded_at >= since)
    if until is not None:
        found = found.where(AuditEntry.recorded_at < until)
    return fetch_page(session, found, AuditEntry.id, query)
