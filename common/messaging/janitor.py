"""The built-in job that forgets what nobody needs any more, in small batches that hold no lock for long."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, select, tuple_
from sqlalchemy.orm import Session

from common import clock
from common.db import transaction
from common.db.tables import Inbox, Outbox
from common.identity import revocations
from common.messaging.jobs import Job
from common.web import idempotency

OUTBOX_KEPT = timedelta(days=7)
INBOX_KEPT = timedelta(days=30)
"""Far longer than a message can be on its way: only a dead one replayed later would be handled twice."""
BATCH = 500
EVERY_S = 10.0


def tidy() -> bool:
    """Delete one batch of each kind; whether there may be more."""
    now = clock.now()
    with transaction() as session:
        idempotency.prune(session, now - idempotency.KEPT)
    with transaction() as session:
        revocations.prune(session)
    with transaction() as session:
        outbox = _forget_published(session, now - OUTBOX_KEPT)
    with transaction() as session:
        inbox = _forget_handled(session, now - INBOX_KEPT)
    return max(outbox, inbox) == BATCH


def _forget_published(session: Session, before: datetime) -> int:
    old = select(Outbox.id).where(Outbox.published_at < before).limit(BATCH)
    return _deleted(session.execute(delete(Outbox).where(Outbox.id.in_(old))))


def _forget_handled(session: Session, before: datetime) -> int:
    old = select(Inbox.consumer, Inbox.event_id).where(Inbox.handled_at < before).limit(BATCH)
    return _deleted(session.execute(delete(Inbox).where(tuple_(Inbox.consumer, Inbox.event_id).in_(old))))


def _deleted(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount


JANITOR = Job("janitor", EVERY_S, tidy)
