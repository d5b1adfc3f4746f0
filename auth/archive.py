"""Archives of the audit trail: whole months as compressed lines, each file with the links to what is before and after.

A file proves itself: its first line names the hash before its first entry and the hash of its last one, every entry
names its predecessor's hash, and the table `audit_archives` (and the next file) names the file's last hash.
"""

import gzip
import hashlib
import os
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete

from auth.models import AuditArchive, AuditEntry
from auth.models.audit import chain_hash
from auth.use_cases.audit import entries_before
from common import clock
from common.db import reading, transaction

_AT_ONCE = 5000


def cutoff(months: int) -> datetime:
    """The start of the oldest month that stays."""
    now = clock.now()
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


def archive_before(limit: datetime, folder: Path) -> list[AuditArchive]:
    """Move the entries recorded before an instant to files, oldest first. A crash leaves a file that is written
    again, never an entry that is nowhere."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[AuditArchive] = []
    while True:
        with reading() as session:
            entries = entries_before(session, limit, _AT_ONCE)
        if not entries:
            return made
        month, group = next(iter(groupby(entries, lambda entry: entry.recorded_at.strftime("%Y-%m"))))
        made.append(_move(month, list(group), folder))


def _move(month: str, entries: list[AuditEntry], folder: Path) -> AuditArchive:
    first, last = entries[0], entries[-1]
    head = {
        "month": month,
        "first_seq": first.seq,
        "last_seq": last.seq,
        "previous_hash": first.previous_hash,
        "last_hash": last.hash,
    }
    lines = [head, *({**entry.content(), "hash": entry.hash} for entry in entries)]
    content = gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines), mtime=0)
    name = f"audit-{month}-{first.seq}.jsonl.gz"
    _write(folder / name, content)
    row = AuditArchive(file=name, sha256=hashlib.sha256(content).hexdigest(), **head)
    with transaction() as session:
        session.add(row)
        session.flush()
        session.execute(delete(AuditEntry).where(AuditEntry.seq <= last.seq))
    return row


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def verify_file(path: Path) -> dict[str, Any]:
    """The file's first line, when every entry follows from the one before. Raises ValueError."""
    with gzip.open(path) as file:
        head: dict[str, Any] = orjson.loads(next(file))
        previous, seq = head["previous_hash"], head["first_seq"]
        for line in file:
            content = orjson.loads(line)
            claimed = content.pop("hash")
            if (
                content["seq"] != seq
                or content["previous_hash"] != previous
                or chain_hash(content) != claimed
            ):
                raise ValueError(f"the chain is broken at {seq}")
            previous, seq = claimed, seq + 1
    if seq != head["last_seq"] + 1 or previous != head["last_hash"]:
        raise ValueError("entries are missing at the end")
    return head
