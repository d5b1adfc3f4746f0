"""Revoked sessions and users: fed by auth's events into each service's database, watched by every web process."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from common import clock
from common.db import reading
from common.db.tables import Revocation
from common.identity.tokens import Identity
from common.messaging.envelope import Event

TOKEN_LIFE = timedelta(minutes=15)
"""Access tokens live this long, so a revocation is needed no longer."""
WATCH_EVERY_S = 0.5
_OVERLAP = timedelta(seconds=10)


def revoke(session: Session, subject: str, at: datetime) -> None:
    """Refuse tokens of a session (`session:<id>`) or user (`user:<id>`) issued up to `at`. Safe to repeat."""
    row = session.get(Revocation, subject, with_for_update=True)
    if row is None:
        session.add(
            Revocation(
                subject=subject, revoked_at=at, expires_at=at + TOKEN_LIFE + _OVERLAP, recorded_at=clock.now()
            )
        )
    elif at > row.revoked_at:
        row.revoked_at, row.expires_at, row.recorded_at = at, at + TOKEN_LIFE + _OVERLAP, clock.now()


def on_session_revoked(session: Session, event: Event) -> None:
    revoke(session, f"session:{event.data['session_id']}", event.time)


def on_user_deactivated(session: Session, event: Event) -> None:
    revoke(session, f"user:{event.subject}", event.time)


REVOCATION_HANDLERS = {"session.revoked": on_session_revoked, "user.deactivated": on_user_deactivated}
"""Part of every service's HANDLERS (a service that does more on `user.deactivated` calls these first)."""


def prune(session: Session) -> None:
    """Forget revocations of tokens that have expired anyway."""
    session.execute(delete(Revocation).where(Revocation.expires_at < clock.now()))


class Watch:
    """This process's copy of the revocations, at most WATCH_EVERY_S behind the table."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._revoked: dict[str, datetime] = {}
        self._high_water: datetime | None = None
        self._looked_at = float("-inf")
        self._lock = threading.Lock()

    def refuses(self, identity: Identity) -> bool:
        """Whether the token's session or user has been revoked since it was issued."""
        nothing_known = self._looked_at == float("-inf")  # then all wait for the first look
        if self._monotonic() - self._looked_at >= WATCH_EVERY_S and self._lock.acquire(
            blocking=nothing_known
        ):
            try:
                if self._monotonic() - self._looked_at >= WATCH_EVERY_S:
                    self._look()
            finally:
                self._lock.release()
        if not self._revoked:
            return False
        if f"session:{identity.session_id}" in self._revoked:
            return True
        at = self._revoked.get(f"user:{identity.user_id}")
        return at is not None and identity.issued_at <= at.timestamp()

    def _look(self) -> None:
        """Read what is new. A little overlap catches rows that committed out of the order of their times."""
        now = clock.now()
        statement = select(Revocation.subject, Revocation.revoked_at, Revocation.recorded_at)
        if self._high_water is not None:
            statement = statement.where(Revocation.recorded_at >= self._high_water - _OVERLAP)
        with reading() as session:
            rows = session.execute(statement.where(Revocation.expires_at > now)).all()
        for subject, revoked_at, recorded_at in rows:
            self._revoked[subject] = revoked_at
            self._high_water = max(self._high_water or recorded_at, recorded_at)
        if len(self._revoked) > 10_000:
            keep_from = now - TOKEN_LIFE - _OVERLAP
            self._revoked = {subject: at for subject, at in self._revoked.items() if at > keep_from}
        self._looked_at = self._monotonic()
