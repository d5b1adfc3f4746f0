"""Periodic work of auth's worker."""

import logging
from datetime import timedelta

from sqlalchemy import delete, select

from auth import limits
from auth.events import CODE_EVENTS
from auth.keys import KeyRing
from auth.models import AuditHead, Ceremony, Code, MfaChallenge, RefreshToken
from auth.parts import parts
from common import clock
from common.db import reading, transaction
from common.db.tables import Outbox
from common.messaging.worker import Job

log = logging.getLogger(__name__)

CODES_KEPT = timedelta(days=2)
BATCH = 500


def forget_published_codes() -> bool:
    """Delete the outbox rows with a code in them as soon as the broker has confirmed them. From then on auth has the
    code as a keyed hash only."""
    with transaction() as session:
        published = select(Outbox.id).where(Outbox.type.in_(CODE_EVENTS), Outbox.published_at.is_not(None))
        rows = session.scalars(published.limit(BATCH)).all()
        if rows:
            session.execute(delete(Outbox).where(Outbox.id.in_(rows)))
    return len(rows) == BATCH


def forget_expired() -> bool:
    """Delete a batch of what is of no use any more: codes, challenges, refresh tokens, counters."""
    now = clock.now()
    more = limits.prune()
    for key, dead in (
        (Code.id, Code.expires_at < now - CODES_KEPT),
        (MfaChallenge.hash, MfaChallenge.expires_at < now),
        (Ceremony.id, Ceremony.expires_at < now),
        (RefreshToken.hash, RefreshToken.expires_at < now),
    ):
        with transaction() as session:
            found = session.scalars(select(key).where(dead).limit(BATCH)).all()
            session.execute(delete(key.class_).where(key.in_(found)))
        more = more or len(found) == BATCH
    return more


def prune_keys() -> None:
    """Take away signing keys that no living token is signed with."""
    keys = parts().keys
    if isinstance(keys, KeyRing):
        for kid in keys.prune(parts().settings.access_token_s):
            log.info("a signing key is no longer needed", extra={"kid": kid})


def anchor_audit() -> None:
    """Write the audit trail's head to the log: whoever keeps the logs elsewhere can show that the chain was not
    made anew."""
    with reading() as session:
        head = session.get_one(AuditHead, 1)
    log.info("audit head", extra={"audit_seq": head.seq, "audit_hash": head.hash})


JOBS = (
    Job("codes", 2.0, forget_published_codes),
    Job("expired", 60.0, forget_expired),
    Job("keys", 3600.0, prune_keys),
    Job("audit-anchor", 3600.0, anchor_audit),
)
