"""Keeping the audit trail: one chain for the platform's events and for auth's own acts that are not events."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import RowMapping, Table, func, insert, select, update
from sqlalchemy.orm import Session

from auth import events
from auth.models import AuditArchive, AuditEntry, AuditHead
from auth.models.audit import CHAINED, FIRST_HASH, chain_hash, chained_content
from common import clock, context, ids
from common.db import Runner, Statement, reading, snapshot
from common.messaging import Event

SECRET_FIELDS = frozenset({"code", "token", "link", "password"})
PRIVATE_FIELDS = {"chat.transcript.requested": frozenset({"lines"})}
"""What was said between a customer and their provider is nobody's to audit."""
_READ_AT_ONCE = 500


@dataclass(frozen=True)
class Client:
    """Where a request comes from; `actor_id` is the member of staff behind it, if one is."""

    ip: str
    user_agent: str = ""
    actor_id: str | None = None


def record_event(session: Session, event: Event) -> None:
    """Keep what an event says, without the secrets in it."""
    left_out = SECRET_FIELDS | PRIVATE_FIELDS.get(event.type, frozenset())
    session.flush()  # before others have to wait
    _append(
        session.connection(),
        event_id=event.id,
        action=event.type,
        source=event.source,
        user_id=event.subject,
        actor_id=event.actor_id or None,
        ip=None,
        happened_at=event.time,
        correlation_id=event.correlation_id,
        data={name: value for name, value in event.data.items() if name not in left_out},
    )


def record_act(
    session: Session, action: str, *, user_id: str, client: Client, data: dict[str, Any] | None = None
) -> None:
    """Keep an act that no event tells of. Call it last in a transaction: from here on others wait for its commit."""
    session.flush()  # before others have to wait
    record_bare(session.connection(), action, user_id=user_id, client=client, data=data)


def record_bare(
    connection: Runner, action: str, *, user_id: str, client: Client, data: dict[str, Any] | None = None
) -> None:
    """As `record_act`, for a transaction without models."""
    _append(
        connection,
        event_id=ids.new_id(),
        action=action,
        source="/auth",
        user_id=user_id,
        actor_id=client.actor_id,
        ip=client.ip[:45],
        happened_at=clock.now(),
        correlation_id=context.correlation_id(),
        data=data or {},
    )


def raise_alert(
    session: Session, pattern: str, *, user_id: str, client: Client, data: dict[str, Any]
) -> None:
    """Tell the platform of a pattern worth a look."""
    session.add(events.audit_compliance_alert(pattern, user_id, client.ip, data))


_ENTRIES, _HEAD = cast(Table, AuditEntry.__table__), cast(Table, AuditHead.__table__)
_LOCK_HEAD = Statement(select(_HEAD.c.seq, _HEAD.c.hash).where(_HEAD.c.id == 1).with_for_update())
_ADD = Statement(insert(_ENTRIES), *CHAINED, "hash")
_ADVANCE = Statement(update(_HEAD).where(_HEAD.c.id == 1), "seq", "hash")
"""Built once, and past the unit of work: a link is added at every sign-in and by every event of the platform."""


def _append(connection: Runner, **values: Any) -> None:
    """Add a link. The head's row is held until commit, so that links stand in the order of their commits."""
    head = _LOCK_HEAD.first(connection, {})
    assert head is not None
    values |= {
        "id": ids.new_id(),
        "recorded_at": clock.now(),
        "seq": head.seq + 1,
        "previous_hash": head.hash,
    }
    values["hash"] = chain_hash(chained_content(values))
    _ADD.run(connection, values)
    _ADVANCE.run(connection, {"seq": values["seq"], "hash": values["hash"]})


@dataclass(frozen=True)
class Verdict:
    """Whether the chain holds from `first_seq` on: `broken_at` is the first number where it does not, `next_seq` where
    to go on when not all of it was read."""

    entries: int
    first_seq: int
    last_seq: int
    last_hash: str
    broken_at: int | None = None
    reason: str | None = None
    next_seq: int | None = None


def verify_chain(*, from_seq: int = 1, most: int | None = None) -> Verdict:
    """Read the chain, or `most` entries of it, from an entry (or from where the last archive ends) to the head. Opens
    its own short reads: entries that are added meanwhile are not looked at."""
    with reading() as session:
        head = session.get_one(AuditHead, 1)
        archive = session.scalar(select(AuditArchive).order_by(AuditArchive.last_seq.desc()).limit(1))
        loose = session.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.seq.is_(None)))
        first, previous = (archive.last_seq + 1, archive.last_hash) if archive else (1, FIRST_HASH)
        if from_seq > first:
            first = min(from_seq, head.seq + 1)
            previous = session.scalar(select(AuditEntry.hash).where(AuditEntry.seq == first - 1)) or ""
    last = head.seq if most is None else min(head.seq, first + most - 1)
    seq = first

    def verdict(
        broken_at: int | None = None, reason: str | None = None, next_seq: int | None = None
    ) -> Verdict:
        return Verdict(seq - first, first, head.seq, head.hash, broken_at, reason, next_seq)

    for entry in _entries(first, last):
        if entry["seq"] != seq:
            return verdict(seq, "an entry is missing")
        if entry["previous_hash"] != previous:
            return verdict(seq, "it does not follow the entry before")
        if chain_hash(chained_content({name: entry[name] for name in CHAINED})) != entry["hash"]:
            return verdict(seq, "it was changed")
        previous, seq = entry["hash"], seq + 1
    if seq != last + 1:
        return verdict(seq, "entries are missing at the end")
    if last < head.seq:
        return verdict(next_seq=seq)
    if previous != head.hash:
        return verdict(head.seq, "the head is of another chain")
    if loose:
        return verdict(head.seq, f"{loose} entries are outside the chain")
    return verdict()


def _entries(first: int, last: int) -> Iterator[RowMapping]:
    while first <= last:
        query = select(_ENTRIES).where(_ENTRIES.c.seq >= first, _ENTRIES.c.seq <= last)
        with snapshot() as connection:
            found = connection.execute(query.order_by(_ENTRIES.c.seq).limit(_READ_AT_ONCE)).mappings().all()
        if not found:
            return
        yield from found
        first = found[-1]["seq"] + 1


def entries_before(session: Session, cutoff: datetime, limit: int) -> list[AuditEntry]:
    """The oldest entries, up to the first that is not before `cutoff`, in the chain's order."""
    found = session.scalars(
        select(AuditEntry).where(AuditEntry.seq.is_not(None)).order_by(AuditEntry.seq).limit(limit)
    ).all()
    kept = []
    for entry in found:
        if entry.recorded_at >= cutoff:
            break
        kept.append(entry)
    return kept
