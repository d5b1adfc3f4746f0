"""Changing and resetting a password. Hashes come ready made."""

from sqlalchemy.orm import Session

from auth import events
from auth.models import Code, Purpose, User
from auth.passwords import refuse_weak
from auth.use_cases.accounts import lock_user
from auth.use_cases.codes import guess_code
from auth.use_cases.mfa import forget_challenges
from auth.use_cases.sessions import end_all_sessions
from auth.vault import Vault
from common import clock


def change_password(
    session: Session, *, user_id: str, verified: str, password_hash: str, but_session: str
) -> bool:
    """Set a new password and end all other sessions; False when the old one is not what was verified any more."""
    user = lock_user(session, user_id)
    if not user.active or user.password_hash != verified:
        return False
    user.password_hash = password_hash
    forget_challenges(session, user_id=user.id)
    end_all_sessions(session, user_id=user_id, reason="password_changed", but=but_session)
    session.add(events.user_password_changed(user, "changed", clock.now()))
    return True


def reset_password(
    session: Session, vault: Vault, *, target: str, code: str, password: str, password_hash: str
) -> User | None:
    """Set a new password by a code and end all sessions; None when the code is wrong (commit, it costs a try), or was
    sent to what is no longer the account's number or address.

    Raises WeakPassword for the user's own name: nothing is spent then.
    """
    right: Code | None = guess_code(session, vault, purpose=Purpose.PASSWORD_RESET, target=target, code=code)
    if right is None or right.user_id is None:
        return None
    user = lock_user(session, right.user_id)
    if not user.active or target not in (user.phone, user.email):
        return None
    refuse_weak(password, user.phone, user.email, user.name, field="new_password")
    user.password_hash = password_hash
    forget_challenges(session, user_id=user.id)
    end_all_sessions(session, user_id=user.id, reason="password_reset")
    session.add(events.user_password_changed(user, "reset", clock.now()))
    return user
