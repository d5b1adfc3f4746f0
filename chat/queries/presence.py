"""Who is in which conversation, at all processes that are alive. Built once: processes ask every second."""

from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, aliased

from chat.models import Attendance, Process

Pair = tuple[str, str]
"""A conversation and a user in it."""

_ALIVE = Process.seen_at >= bindparam("seen_after")
_MINE = aliased(Attendance)
_CHANGES = select(Process.id, Process.changes).where(_ALIVE)
_PEOPLE = (
    select(Attendance.user_id)
    .join(Process, Process.id == Attendance.process_id)
    .where(_ALIVE, Attendance.conversation_id == bindparam("conversation"))
    .distinct()
)
_AROUND = (
    select(Attendance.conversation_id, Attendance.user_id)
    .join(_MINE, _MINE.conversation_id == Attendance.conversation_id)
    .join(Process, Process.id == Attendance.process_id)
    .where(_ALIVE, _MINE.process_id == bindparam("process"))
    .distinct()
)


def changes(session: Session, seen_after: datetime) -> dict[str, int]:
    """The processes that are alive, with the counters that move when somebody comes or goes there."""
    rows = session.execute(_CHANGES, {"seen_after": seen_after})
    return {row[0]: row[1] for row in rows}


def people_in(session: Session, conversation_id: str, seen_after: datetime) -> list[str]:
    return list(session.scalars(_PEOPLE, {"conversation": conversation_id, "seen_after": seen_after}))


def around(session: Session, process_id: str, seen_after: datetime) -> set[Pair]:
    """Everybody, wherever connected, in the conversations of those who are connected to this process."""
    rows = session.execute(_AROUND, {"process": process_id, "seen_after": seen_after})
    return {(row[0], row[1]) for row in rows}
