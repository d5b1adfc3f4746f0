"""Passkeys: challenges and what answers them. The cryptography is `auth/webauthn_ceremony.py`'s."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from auth.errors import InvalidPasskey, PasskeyAlreadyRegistered, TooMany
from auth.models import Ceremony, Passkey, User
from auth.use_cases.accounts import lock_user
from auth.use_cases.audit import Client, record_act
from common import clock
from common.errors import NotFound

CEREMONY_LIFE = timedelta(minutes=5)
MAX_PASSKEYS = 20


def begin_ceremony(session: Session, *, ceremony_id: str, user_id: str | None, challenge: bytes) -> None:
    """Keep a challenge until it is answered."""
    session.add(
        Ceremony(id=ceremony_id, user_id=user_id, challenge=challenge, expires_at=clock.now() + CEREMONY_LIFE)
    )


def take_challenge(session: Session, *, ceremony_id: str, user_id: str | None) -> bytes:
    """The challenge, once: commit even when the answer turns out wrong. Raises InvalidPasskey."""
    found = session.get(Ceremony, ceremony_id, with_for_update=True)
    if found is None or found.user_id != user_id:
        raise InvalidPasskey()
    session.delete(found)
    if found.expires_at <= clock.now():
        raise InvalidPasskey()
    return found.challenge


def add_passkey(session: Session, passkey: Passkey, *, client: Client) -> None:
    """Keep a verified credential. Raises PasskeyAlreadyRegistered, TooMany."""
    if session.scalar(select(Passkey.id).where(Passkey.credential_id == passkey.credential_id)) is not None:
        raise PasskeyAlreadyRegistered()
    count = session.scalar(select(func.count()).where(Passkey.user_id == passkey.user_id)) or 0
    if count >= MAX_PASSKEYS:
        raise TooMany()
    session.add(passkey)
    session.flush()
    record_act(
        session, "passkey.added", user_id=passkey.user_id, client=client, data={"passkey_id": passkey.id}
    )


def use_passkey(session: Session, *, passkey_id: str, sign_count: int) -> User:
    """Note a verified use. Raises InvalidPasskey when it was removed, cloned or its account closed meanwhile."""
    user_id = session.scalar(select(Passkey.user_id).where(Passkey.id == passkey_id))
    if user_id is None:
        raise InvalidPasskey()
    user = lock_user(session, user_id)
    found = session.get(Passkey, passkey_id, with_for_update=True)
    if found is None or not user.active:
        raise InvalidPasskey()
    if sign_count and sign_count <= found.sign_count:
        raise InvalidPasskey("The passkey seems to have been copied")
    found.sign_count, found.last_used_at = sign_count, clock.now()
    return user


def remove_passkey(session: Session, *, user_id: str, passkey_id: str, client: Client) -> None:
    """Raises NotFound."""
    found = session.get(Passkey, passkey_id, with_for_update=True)
    if found is None or found.user_id != user_id:
        raise NotFound()
    session.delete(found)
    record_act(session, "passkey.removed", user_id=user_id, client=client, data={"passkey_id": passkey_id})
