"""HTTP in: `/api/notifications`, a user's own inbox."""

from flask import Blueprint, Response

from common.db import reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from notification import queries, use_cases
from notification.schemas import InboxQuery, NotificationOut, ReadAllOut, UnreadCountOut

routes = Blueprint("notification", __name__)


@routes.get("")
@operation("List notifications", query=InboxQuery, returns={200: NotificationOut}, page=True)
def list_notifications(query: InboxQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_notifications(session, identity().user_id, query, unread=query.unread))


@routes.get("/unread-count")
@operation("Count unread notifications", returns={200: UnreadCountOut})
def get_unread_count() -> Response:
    with reading() as session:
        return reply(UnreadCountOut(unread=queries.count_unread(session, identity().user_id)))


@routes.post("/<id:notification_id>/read")
@operation("Mark a notification as read", returns={200: NotificationOut}, raises=(NotFound,))
def post_read(notification_id: str) -> Response:
    with transaction() as session:
        found = use_cases.read_notification(
            session, user_id=identity().user_id, notification_id=notification_id
        )
        return reply(NotificationOut.of(found))


@routes.post("/read-all")
@operation("Mark all notifications as read", returns={200: ReadAllOut})
def post_read_all() -> Response:
    with transaction() as session:
        return reply(ReadAllOut(read=use_cases.read_all(session, user_id=identity().user_id)))


@routes.delete("/<id:notification_id>")
@operation("Delete a notification", returns={204: None}, raises=(NotFound,))
def delete_notification(notification_id: str) -> Response:
    with transaction() as session:
        use_cases.delete_notification(session, user_id=identity().user_id, notification_id=notification_id)
        return reply(None, 204)
