"""Tickets, and who may see which."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from chat.models import Ticket, TicketChange, TicketComment, TicketState
from chat.queries.conversations import CARE_ROLES
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from common.identity import Identity


def get_ticket(session: Session, who: Identity, ticket_id: str, *, lock: bool = False) -> Ticket:
    """A ticket that the caller may see: the own one, or for customer care any. Raises NotFound."""
    found = session.get(Ticket, ticket_id, with_for_update=lock or None)
    if found is None or not (found.customer_id == who.user_id or who.roles & CARE_ROLES):
        raise NotFound()
    return found


def list_tickets(
    session: Session, who: Identity, state: TicketState | None, customer_id: str | None, query: PageQuery
) -> Page[Ticket]:
    """The caller's tickets, for customer care all, newest first."""
    statement = select(Ticket).options(joinedload(Ticket.customer))
    if not who.roles & CARE_ROLES:
        customer_id = who.user_id
    if customer_id is not None:
        statement = statement.where(Ticket.customer_id == customer_id)
    if state is not None:
        statement = statement.where(Ticket.state == state)
    return fetch_page(session, statement, Ticket.id, query)


def comments_of(session: Session, who: Identity, ticket_id: str) -> Sequence[TicketComment]:
    """In their order; without the internal ones for the customer."""
    statement = select(TicketComment).where(TicketComment.ticket_id == ticket_id)
    if not who.roles & CARE_ROLES:
        statement = statement.where(TicketComment.internal.is_(False))
    return session.scalars(
        statement.order_by(TicketComment.id).options(joinedload(TicketComment.author))
    ).all()


def changes_of(session: Session, ticket_id: str) -> Sequence[TicketChange]:
    return session.scalars(
        select(TicketChange).where(TicketChange.ticket_id == ticket_id).order_by(TicketChange.id)
    ).all()
