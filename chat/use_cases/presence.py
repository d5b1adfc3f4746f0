"""Chat processes tell each other through the database who is where."""

from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Table, bindparam, delete, insert, update
from sqlalchemy.orm import Session

from chat.models import Attendance, Process
from chat.queries.presence import Pair
from common import clock

FORGOTTEN_AFTER = timedelta(minutes=5)

_TABLE = cast(Table, Attendance.__table__)
_COME = insert(_TABLE).values(
    conversation_id=bindparam("c"), user_id=bindparam("u"), process_id=bindparam("p")
)
_LEAVE = delete(_TABLE).where(
    _TABLE.c.conversation_id == bindparam("c"),
    _TABLE.c.user_id == bindparam("u"),
    _TABLE.c.process_id == bindparam("p"),
)


def record_attendance(session: Session, process_id: str, here: set[Pair], before: set[Pair] | None) -> None:
    """This process is alive, with these people; `before`: what it recorded last, None when it cannot know."""
    alive = update(Process).where(Process.id == process_id)
    step = int(here != before)
    done = session.execute(alive.values(seen_at=clock.now(), changes=Process.changes + step))
    if not cast(CursorResult[Any], done).rowcount:  # new, or held for dead and forgotten
        session.execute(insert(Process), {"id": process_id, "seen_at": clock.now(), "changes": 0})
        before = set()
    if before is None:
        session.execute(delete(Attendance).where(Attendance.process_id == process_id))
        before = set()
    if left := before - here:
        session.execute(_LEAVE, [{"c": c, "u": u, "p": process_id} for c, u in sorted(left)])
    if came := here - before:
        session.execute(_COME, [{"c": c, "u": u, "p": process_id} for c, u in sorted(came)])


def forget_dead_processes(session: Session) -> None:
    """Remove what is left of processes that ended without a word; nobody counts it any more."""
    session.execute(delete(Process).where(Process.seen_at < clock.now() - FORGOTTEN_AFTER))
