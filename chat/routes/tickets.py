"""Support tickets."""

from flask import Response

from chat.errors import TicketClosed, WrongTransition
from chat.queries import tickets
from chat.routes.blueprint import routes
from chat.schemas.tickets import (
    CommentIn,
    CommentOut,
    TicketDetailOut,
    TicketIn,
    TicketOut,
    TicketPatch,
    TicketsQuery,
)
from chat.use_cases import tickets as use_cases
from common.db import reading, rerun_lost_race, transaction
from common.errors import Forbidden, NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id


@routes.post("/tickets")
@operation("Open a support ticket", body=TicketIn, returns={201: TicketOut}, raises=(NotFound, Forbidden))
def post_ticket(body: TicketIn) -> Response:
    """With `conversation_id` it belongs to that conversation and, made by an agent, to its customer."""
    ticket_id = work_id()
    wish = use_cases.TicketWish(**dict(body))

    @rerun_lost_race
    def create() -> Response:
        with transaction() as session:
            made = use_cases.create_ticket(session, identity(), wish, ticket_id=ticket_id)
            return reply(TicketOut.of(made), 201)

    return create()


@routes.get("/tickets")
@operation("List the own tickets; agents: all", query=TicketsQuery, returns={200: TicketOut}, page=True)
def list_tickets(query: TicketsQuery) -> Response:
    with reading() as session:
        page = tickets.list_tickets(session, identity(), query.state, query.customer_id, query)
        return reply_page(page, TicketOut)


@routes.get("/tickets/<id:ticket_id>")
@operation("One ticket with its comments and history", returns={200: TicketDetailOut}, raises=(NotFound,))
def get_ticket(ticket_id: str) -> Response:
    with reading() as session:
        found = tickets.get_ticket(session, identity(), ticket_id)
        comments = tickets.comments_of(session, identity(), ticket_id)
        changes = tickets.changes_of(session, ticket_id)
        return reply(TicketDetailOut.with_story(found, comments, changes))


@routes.patch("/tickets/<id:ticket_id>")
@operation(
    "Change a ticket",
    body=TicketPatch,
    returns={200: TicketOut},
    raises=(NotFound, Forbidden, TicketClosed, WrongTransition),
)
def patch_ticket(ticket_id: str, body: TicketPatch) -> Response:
    wish = use_cases.TicketChanges(**dict(body))
    with transaction() as session:
        return reply(TicketOut.of(use_cases.change_ticket(session, identity(), wish, ticket_id=ticket_id)))


@routes.post("/tickets/<id:ticket_id>/comments")
@operation(
    "Comment on a ticket",
    body=CommentIn,
    returns={201: CommentOut},
    raises=(NotFound, Forbidden, TicketClosed),
)
def post_comment(ticket_id: str, body: CommentIn) -> Response:
    comment_id = work_id()
    with transaction() as session:
        comment = use_cases.add_comment(
            session,
            identity(),
            ticket_id=ticket_id,
            comment_id=comment_id,
            body=body.body,
            internal=body.internal,
        )
        return reply(CommentOut.of(comment), 201)
