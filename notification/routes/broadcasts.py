"""Broadcasts of the operator, for admins."""

import logging

from flask import Response

from common.db import PageQuery, reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from common.web.idempotency import work_id
from notification import queries
from notification.errors import BroadcastEnded
from notification.models import Category
from notification.routes.base import routes
from notification.schemas.broadcasts import BroadcastIn, BroadcastOut, BroadcastProgressOut
from notification.use_cases import broadcasts

log = logging.getLogger(__name__)


@routes.post("/admin/broadcasts")
@operation("Tell many customers", body=BroadcastIn, returns={201: BroadcastOut}, roles=("admin",))
def post_broadcast(body: BroadcastIn) -> Response:
    """Begins at `starts_at`, or now. What a customer has switched off stays off, and quiet hours are kept; `statutory`
    cannot be switched off. Messages of events go first."""
    with transaction() as session:
        made = broadcasts.schedule_broadcast(
            session,
            broadcast_id=work_id(),
            author_id=identity().user_id,
            category=Category(body.category),
            channels=body.channels,
            languages=body.segment.languages,
            user_ids=body.segment.user_ids,
            barred=body.segment.barred,
            holding=body.segment.holding,
            texts=body.texts.by_language(),
            starts_at=body.starts_at,
            per_minute=body.per_minute,
        )
        session.flush()
        log.info("broadcast made", extra={"broadcast_id": made.id, "staff_id": made.author_id})
        return reply(BroadcastOut.of(made), 201)


@routes.get("/admin/broadcasts")
@operation("List broadcasts", query=PageQuery, returns={200: BroadcastOut}, roles=("admin",), page=True)
def list_broadcasts(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_broadcasts(session, query), BroadcastOut)


@routes.get("/admin/broadcasts/<id:broadcast_id>")
@operation(
    "Show a broadcast and how far it is",
    returns={200: BroadcastProgressOut},
    roles=("admin",),
    raises=(NotFound,),
)
def get_broadcast(broadcast_id: str) -> Response:
    with reading() as session:
        return reply(BroadcastProgressOut.with_progress(*queries.get_broadcast(session, broadcast_id)))


@routes.post("/admin/broadcasts/<id:broadcast_id>/cancel")
@operation(
    "Stop a broadcast", returns={200: BroadcastOut}, roles=("admin",), raises=(NotFound, BroadcastEnded)
)
def post_broadcast_cancel(broadcast_id: str) -> Response:
    """Who has it keeps it. Safe to repeat."""
    with transaction() as session:
        cancelled = broadcasts.cancel_broadcast(session, broadcast_id)
        log.info("broadcast cancelled", extra={"broadcast_id": broadcast_id, "staff_id": identity().user_id})
        return reply(BroadcastOut.of(cancelled))
