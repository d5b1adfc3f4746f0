"""A user's own inbox: reading and deleting."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from common import clock
from common.errors import NotFound
from notification.models import Notification


def read_notification(session: Session, *, user_id: str, notification_id: str) -> Notification:
    """Mark as read. Safe to repeat. Raises NotFound, for another's too."""
    found = _own(session, user_id, notification_id)
    found.mark_read()
    return found


def read_all(session: Session, *, user_id: str) -> int:
    """Mark every unread notification as read; how many there were."""
    unread = (
        update(Notification)
        .where(
            Notification.user_id == user_id,
            Notification.read_at.is_(None),
            Notification.deleted_at.is_(None),
        )
        .values(read_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    return int(session.execute(unread).rowcount)  # type: ignore[attr-defined]


def delete_notification(session: Session, *, user_id: str, notification_id: str) -> None:
    """Take a notification out of the inbox for good. Raises NotFound, for another's and a deleted one too."""
    _own(session, user_id, notification_id).delete()


def _own(session: Session, user_id: str, notification_id: str) -> Notification:
    found = session.get(Notification, notification_id, with_for_update=True)
    if found is None or found.user_id != user_id or found.deleted_at is not None:
        raise NotFound()
    return found
