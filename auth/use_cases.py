"""Decisions and writes of auth. Passwords are hashed and tokens signed by the caller, outside the transaction."""

import hashlib
import hmac
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from auth import events
from auth.errors import (
    EmailAlreadyRegistered,
    InvalidRefreshToken,
    PhoneAlreadyRegistered,
    RefreshTokenReused,
)
from auth.models import AuditEntry, Language, LoginSession, RefreshToken, Role, User
from common import clock
from common.errors import NotFound
from common.identity import revoke
from common.messaging import Event

SECRET_FIELDS = frozenset({"code", "token", "link", "password"})


def hash_token(token: str) -> str:
    """How a refresh token is kept: SHA-256 (the token itself has 256 random bits)."""
    return hashlib.sha256(token.encode()).hexdigest()


def client_fingerprint(user_agent: str, ip: str) -> str:
    """Tells one client from another, for the grace of a lost answer."""
    return hashlib.sha256(f"{user_agent}\n{ip}".encode()).hexdigest()


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
    if session.scalar(select(User.id).where(User.phone == phone)) is not None:
        raise PhoneAlreadyRegistered()
    if email is not None and session.scalar(select(User.id).where(User.email == email)) is not None:
        raise EmailAlreadyRegistered()
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


def start_session(
    session: Session,
    *,
    session_id: str,
    user_id: str,
    refresh_token: str,
    life: timedelta,
    user_agent: str,
    ip: str,
) -> LoginSession:
    """A new sign-in with its first refresh token."""
    started = LoginSession(
        id=session_id,
        user_id=user_id,
        client=client_fingerprint(user_agent, ip),
        user_agent=user_agent[:300],
        ip=ip,
    )
    session.add(started)
    session.flush()
    session.add(
        RefreshToken(hash=hash_token(refresh_token), session_id=session_id, expires_at=clock.now() + life)
    )
    return started


def rotate_refresh_token(
    session: Session,
    *,
    presented: str,
    successor: str,
    grace: timedelta,
    life: timedelta,
    user_agent: str,
    ip: str,
) -> LoginSession:
    """Exchange a refresh token for `successor`. Safe to repeat by the same client within the grace.

    Raises InvalidRefreshToken. When a spent token comes back otherwise, the session is revoked and returned as such:
    the caller commits that and refuses.
    """
    token = session.get(RefreshToken, hash_token(presented), with_for_update=True)
    if token is None or token.expires_at <= clock.now():
        raise InvalidRefreshToken()
    found = session.get(LoginSession, token.session_id, with_for_update=True)
    if found is None or found.revoked_at is not None or not found.user.active:
        raise InvalidRefreshToken()
    if token.spent_at is not None:
        same_client = hmac.compare_digest(found.client, client_fingerprint(user_agent, ip))
        if not (same_client and token.within_grace(grace)):
            end_session(session, found, reason="refresh_token_reused")
        return found
    token.spent_at = clock.now()
    found.last_used_at = clock.now()
    found.client, found.user_agent, found.ip = client_fingerprint(user_agent, ip), user_agent[:300], ip
    session.add(RefreshToken(hash=hash_token(successor), session_id=found.id, expires_at=clock.now() + life))
    return found


def refuse_reuse(found: LoginSession) -> None:
    """Raises RefreshTokenReused when the rotation ended the session."""
    if found.revoked_at is not None:
        raise RefreshTokenReused()


def end_session(session: Session, found: LoginSession, *, reason: str) -> None:
    """Revoke a session here and, by event, everywhere. Safe to repeat."""
    if found.revoke():
        revoke(session, f"session:{found.id}", clock.now())
        session.add(events.session_revoked(found, reason))


def end_session_of(session: Session, *, user_id: str, session_id: str, reason: str) -> None:
    """Revoke one session of a user. Raises NotFound for another's or an ended one."""
    found = session.get(LoginSession, session_id, with_for_update=True)
    if found is None or found.user_id != user_id or found.revoked_at is not None:
        raise NotFound()
    end_session(session, found, reason=reason)


def end_all_sessions(session: Session, *, user_id: str, reason: str) -> None:
    """Revoke every live session of a user. Safe to repeat."""
    live = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    for found in session.scalars(live.with_for_update()):
        end_session(session, found, reason=reason)


def update_profile(session: Session, *, user_id: str, name: str | None, language: Language | None) -> User:
    """Change what is given; emits `user.updated` when anything differs."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound()
    changed = []
    if name is not None and name != user.name:
        user.name = name
        changed.append("name")
    if language is not None and language != user.language:
        user.language = language
        changed.append("language")
    if changed:
        session.add(events.user_updated(user, changed))
    return user


def deactivate_user(session: Session, *, user_id: str, reason: str) -> None:
    """Close an account: no sign-in, every token refused everywhere. Safe to repeat. Raises NotFound."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise NotFound()
    if not user.active:
        return
    user.active = False
    end_all_sessions(session, user_id=user_id, reason=reason)
    revoke(session, f"user:{user_id}", clock.now())
    session.add(events.user_deactivated(user, reason))


def record_audit(session: Session, event: Event) -> None:
    """Keep what an event says, without the secrets in it."""
    session.add(
        AuditEntry(
            event_id=event.id,
            action=event.type,
            source=event.source,
            user_id=event.subject,
            happened_at=event.time,
            correlation_id=event.correlation_id,
            data={name: value for name, value in event.data.items() if name not in SECRET_FIELDS},
        )
    )
