"""The second factor: an authenticator app (TOTP, RFC 6238) with recovery codes, and the wait for its code."""

import hmac
import secrets
from datetime import timedelta

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from auth.errors import InvalidCode, InvalidMfaToken, MfaAlreadyOn, MfaNotOn
from auth.models import MfaChallenge, RecoveryCode, Totp, User
from auth.use_cases.accounts import lock_user
from auth.use_cases.audit import Client, record_act
from auth.use_cases.sessions import hash_token
from auth.vault import Vault
from common import clock
from common.db import Runner, Statement

STEP_S = 30
DIGITS = 6
ISSUER = "Sri-Care"
RECOVERY_CODES = 10
CHALLENGE_LIFE = timedelta(minutes=5)
CHALLENGE_TRIES = 5
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def begin_totp(session: Session, vault: Vault, user: User, secret: bytes) -> str:
    """Keep a secret that is in force once it is confirmed; returns its otpauth URI. Raises MfaAlreadyOn."""
    row = session.get(Totp, user.id, with_for_update=True)
    if row is not None and row.confirmed_at is not None:
        raise MfaAlreadyOn()
    sealed = vault.seal(secret, f"totp {user.id}")
    if row is None:
        session.add(Totp(user_id=user.id, sealed_secret=sealed))
    else:
        row.sealed_secret, row.last_step = sealed, 0
    return _totp(secret).get_provisioning_uri(user.phone, ISSUER)


def confirm_totp(session: Session, vault: Vault, *, user_id: str, code: str, client: Client) -> list[str]:
    """Put the app in force; returns the recovery codes, which nobody can read again. Raises MfaNotOn, MfaAlreadyOn,
    InvalidCode."""
    row = session.get(Totp, user_id, with_for_update=True)
    if row is None:
        raise MfaNotOn()
    if row.confirmed_at is not None:
        raise MfaAlreadyOn()
    if not _take_step(vault, row, code):
        raise InvalidCode(errors=[{"field": "code", "message": "wrong or too old"}])
    row.confirmed_at = clock.now()
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(
        RecoveryCode(hash=vault.digest(f"recovery {user_id}", _bare(code)), user_id=user_id) for code in codes
    )
    record_act(session, "mfa.enabled", user_id=user_id, client=client)
    return codes


def remove_totp(session: Session, *, user_id: str, client: Client) -> None:
    """Do without the app again, and without its recovery codes. Raises MfaNotOn."""
    row = session.get(Totp, user_id, with_for_update=True)
    if row is None:
        raise MfaNotOn()
    session.delete(row)
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    record_act(session, "mfa.removed", user_id=user_id, client=client)


_CHALLENGE = Statement(insert(MfaChallenge), "hash", "user_id", "tries_left", "expires_at")


def begin_challenge(connection: Runner, *, user_id: str, token: str) -> None:
    """The password was right: wait for the second factor."""
    challenge = {
        "hash": hash_token(token),
        "user_id": user_id,
        "tries_left": CHALLENGE_TRIES,
        "expires_at": clock.now() + CHALLENGE_LIFE,
    }
    _CHALLENGE.run(connection, challenge)


def answer_challenge(session: Session, vault: Vault, *, token: str, code: str) -> User | None:
    """The user when the code is right; else None, and a try is gone: commit either way. A right answer ends it.

    Raises InvalidMfaToken.
    """
    key = hash_token(token)
    user_id = session.scalar(select(MfaChallenge.user_id).where(MfaChallenge.hash == key))
    if user_id is None:
        raise InvalidMfaToken()
    user = lock_user(session, user_id)
    challenge = session.get(MfaChallenge, key, with_for_update=True)
    if challenge is None or challenge.expires_at <= clock.now() or challenge.tries_left <= 0:
        raise InvalidMfaToken()
    if not user.active:
        raise InvalidMfaToken()
    challenge.tries_left -= 1
    if not check_factor(session, vault, user_id=user_id, code=code):
        return None
    session.delete(challenge)
    return user


def forget_challenges(session: Session, *, user_id: str) -> None:
    """Sign-ins that wait for the second factor are over: their password is not the password any more."""
    session.execute(delete(MfaChallenge).where(MfaChallenge.user_id == user_id))


def check_factor(session: Session, vault: Vault, *, user_id: str, code: str) -> bool:
    """Whether it is the app's code of now or a recovery code; either is spent by it."""
    row = session.get(Totp, user_id, with_for_update=True)
    if row is not None and row.confirmed_at is not None and _take_step(vault, row, code):
        return True
    digest = vault.digest(f"recovery {user_id}", _bare(code))
    recovery = session.get(RecoveryCode, digest, with_for_update=True)
    if recovery is None or recovery.user_id != user_id or recovery.spent_at is not None:
        return False
    recovery.spent_at = clock.now()
    return True


def _take_step(vault: Vault, row: Totp, code: str) -> bool:
    """Whether it is the code of now, or of a step before or after; each step's code is good once."""
    totp = _totp(vault.open(row.sealed_secret, f"totp {row.user_id}"))
    now = int(clock.now().timestamp()) // STEP_S
    for step in (now - 1, now, now + 1):
        if step > row.last_step and hmac.compare_digest(totp.generate(step * STEP_S), code.encode()):
            row.last_step = step
            return True
    return False


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303 -- what authenticator apps understand


def _recovery_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return "-".join((letters[:4], letters[4:8], letters[8:]))


def _bare(code: str) -> str:
    return code.replace("-", "").replace(" ", "").casefold()
