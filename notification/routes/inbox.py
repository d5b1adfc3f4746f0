"""A user's inbox and its stream."""

from flask import Response, current_app, request

from common.db import reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.ids import is_id
from common.web import operation, reply, reply_page
from notification import queries
from notification.errors import (
    StreamsUnavailable,
    TooManyStreams,
)
from notification.routes.base import routes
from notification.schemas.inbox import InboxQuery, NotificationOut, ReadAllOut, UnreadCountOut
from notification.streams import Streams
from notification.use_cases import inbox


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
        found = inbox.read_notification(session, user_id=identity().user_id, notification_id=notification_id)
        return reply(NotificationOut.of(found))


@routes.post("/read-all")
@operation("Mark all notifications as read", returns={200: ReadAllOut})
def post_read_all() -> Response:
    with transaction() as session:
        return reply(ReadAllOut(read=inbox.read_all(session, user_id=identity().user_id)))


@routes.delete("/<id:notification_id>")
@operation("Delete a notification", returns={204: None}, raises=(NotFound,))
def delete_notification(notification_id: str) -> Response:
    with transaction() as session:
        inbox.delete_notification(session, user_id=identity().user_id, notification_id=notification_id)
        return reply(None, 204)


@routes.get("/stream")
@operation(
    "Follow one's inbox as server-sent events",
    content_type="text/event-stream",
    raises=(TooManyStreams, StreamsUnavailable),
)
def get_stream() -> Response:
    """`event: notification` with a notification as `data` for each new one. `Last-Event-ID` (a notification's id)
    brings up to 100 that came after it. The stream ends with the access token: open it again with a new one."""
    last = request.headers.get("Last-Event-ID", "")
    streams: Streams = current_app.extensions["notification_streams"]
    body = streams.open(request.environ, identity(), last if is_id(last) else None)
    return Response(body, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
