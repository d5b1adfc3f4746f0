"""Sessions: sign-in, rotation of refresh tokens, revocation."""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from auth import events
from auth.errors import InvalidRefreshToken, RefreshTokenReused
from auth.models import LoginSession, RefreshToken, User
from auth.use_cases.audit import Client, record_act, record_bare
from common import clock
from common.db import Found, Runner, Statement
from common.errors import NotFound
from common.identity import revoke


def hash_token(token: str) -> str:
    """How a refresh token is kept: SHA-256 (the token itself has 256 random bits)."""
    return hashlib.sha256(token.encode()).hexdigest()


def client_fingerprint(client: Client) -> str:
    """Tells one client from another, for the grace of a lost answer."""
    return hashlib.sha256(f"{client.user_agent}\n{client.ip}".encode()).hexdigest()


_USERS, _SESSIONS = cast(Table, User.__table__), cast(Table, LoginSession.__table__)
_LOCK_USER = Statement(
    select(_USERS.c.active, _USERS.c.password_hash, _USERS.c.roles)
    .where(_USERS.c.id == bindparam("user_id"))
    .with_for_update()
)
_START = Statement(
    insert(_SESSIONS),
    "id",
    "user_id",
    "client",
    "user_agent",
    "ip",
    "created_at",
    "last_used_at",
    "proved_at",
)
_GIVE = Statement(insert(cast(Table, RefreshToken.__table__)), "hash", "session_id", "expires_at")
_REHASH = Statement(update(_USERS).where(_USERS.c.id == bindparam("user_id")), "password_hash", "updated_at")
"""Built once, and past the unit of work: they run at every sign-in."""


def start_session(
    connection: Runner,
    *,
    session_id: str,
    user_id: str,
    refresh_token: str,
    life: timedelta,
    client: Client,
) -> None:
    """A new sign-in with its first refresh token."""
    now = clock.now()
    started = {
        "id": session_id,
        "user_id": user_id,
        "client": client_fingerprint(client),
        "user_agent": client.user_agent[:300],
        "ip": client.ip,
        "created_at": now,
        "last_used_at": now,
        "proved_at": now,
    }
    _START.run(connection, started)
    first = {"hash": hash_token(refresh_token), "session_id": session_id, "expires_at": now + life}
    _GIVE.run(connection, first)


def confirm_verified(connection: Runner, account: Found, *, new_hash: str | None) -> bool:
    """Whether an open account still has the hash that a password was verified with, and the roles that were read with
    it; locked until commit. So that nobody gets in by a password, or with rights, that were taken away while it was
    being verified. `new_hash`, made with today's parameters, replaces the old one."""
    row = _LOCK_USER.first(connection, {"user_id": account.id})
    if row is None or not row.active:
        return False
    if row.password_hash != account.password_hash or row.roles != account.roles:
        return False
    if new_hash is not None:
        rehashed = {"user_id": account.id, "password_hash": new_hash, "updated_at": clock.now()}
        _REHASH.run(connection, rehashed)
    return True


def note_failed_login(
    session: Session,
    account: Found | None,
    *,
    identifier: str,
    client: Client,
    locked_until: datetime | None,
) -> None:
    """Keep a failed sign-in, whether or not there is such an account, and tell the owner of a lockout. `identifier` is
    what of the number or address may be kept."""
    if account is not None and account.active and locked_until is not None:
        session.add(events.user_locked_out(account.id, locked_until, client.ip))
    data = {"identifier": identifier, "locked": locked_until is not None}
    record_act(session, "login.failed", user_id=account.id if account else "", client=client, data=data)


def note_failure(session: Session, action: str, *, user_id: str, client: Client) -> None:
    """Keep a wrong second factor (`mfa.failed`), or a wrong answer to who is signed in (`session.proof.failed`)."""
    record_act(session, action, user_id=user_id, client=client)


def note_login(connection: Runner, user_id: str, *, method: str, client: Client) -> None:
    """Keep a sign-in. Call it last in a transaction."""
    record_bare(connection, "login.succeeded", user_id=user_id, client=client, data={"method": method})


def note_proof(session: Session, *, user_id: str, session_id: str, client: Client) -> None:
    """The user of a session has shown again who they are. Raises NotFound for one that has ended."""
    found = _live_session(session, user_id, session_id)
    found.proved_at = clock.now()
    record_act(session, "session.proved", user_id=user_id, client=client, data={"session_id": session_id})


def rotate_refresh_token(
    session: Session, *, presented: str, successor: str, grace: timedelta, life: timedelta, client: Client
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
        same_client = hmac.compare_digest(found.client, client_fingerprint(client))
        if not (same_client and token.within_grace(grace)):
            end_session(session, found, reason="refresh_token_reused")
        return found
    token.spent_at = clock.now()
    found.last_used_at = clock.now()
    found.client, found.user_agent, found.ip = client_fingerprint(client), client.user_agent[:300], client.ip
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
    end_session(session, _live_session(session, user_id, session_id), reason=reason)


def _live_session(session: Session, user_id: str, session_id: str) -> LoginSession:
    found = session.get(LoginSession, session_id, with_for_update=True)
    if found is None or found.user_id != user_id or found.revoked_at is not None:
        raise NotFound()
    return found


def end_all_sessions(session: Session, *, user_id: str, reason: str, but: str | None = None) -> None:
    """Revoke every live session of a user, except one if it is named. Safe to repeat."""
    live = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    for found in session.scalars(live.order_by(LoginSession.id).with_for_update()):
        if found.id != but:
            end_session(session, found, reason=reason)
