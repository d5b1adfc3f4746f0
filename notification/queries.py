"""Reads of notification."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from common import clock
from common.db import Page, PageQuery, fetch_page
from notification.models import Notification

_INBOX = select(
    Notification.id,
    Notification.event_type,
    Notification.title,
    Notification.body,
    Notification.language,
    Notification.read_at,
    Notification.created_at,
    Notification.data,
).where(Notification.deleted_at.is_(None))


def list_notifications(
    session: Session, user_id: str, query: PageQuery, *, unread: bool
) -> Page[Mapping[str, Any]]:
    """A user's inbox, newest first, as it is answered (without the ORM: this is the hottest read)."""
    inbox = _INBOX.where(Notification.user_id == user_id)
    if unread:
        inbox = inbox.where(Notification.read_at.is_(None))
    page = fetch_page(session, inbox, Notification.id, query, scalars=False)
    return Page([_item(row) for row in page.items], page.next_cursor)


def _item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "event_type": row.event_type,
        "title": row.title,
        "body": row.body,
        "language": row.language.value,
        "read_at": clock.rfc3339(row.read_at) if row.read_at else None,
        "created_at": clock.rfc3339(row.created_at),
        "data": row.data,
    }


def count_unread(session: Session, user_id: str) -> int:
    unread = (
        select(func.count())
        .select_from(Notification)
        .where(
            Notification.user_id == user_id,
            Notification.read_at.is_(None),
            Notification.deleted_at.is_(None),
        )
    )
    return session.scalar(unread) or 0
