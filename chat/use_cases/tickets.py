"""Support tickets: made from a conversation or alone, worked on by customer care, told to the customer."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chat import events
from chat.models import (
    Category,
    Invoice,
    Order,
    Priority,
    Ticket,
    TicketChange,
    TicketComment,
    TicketSeries,
    TicketState,
)
from chat.queries.conversations import CARE_ROLES, get_conversation
from chat.queries.tickets import get_ticket
from common import clock
from common.errors import Forbidden, ValidationFailed
from common.identity import Identity


@dataclass(frozen=True, slots=True)
class TicketWish:
    """What a ticket is to be made of. Without `customer_id` it is the caller's own."""

    subject: str
    description: str
    category: Category
    priority: Priority
    customer_id: str | None = None
    conversation_id: str | None = None
    order_id: str | None = None
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True)
class TicketChanges:
    """What is to change; None: stays."""

    state: TicketState | None = None
    priority: Priority | None = None
    category: Category | None = None
    agent_id: str | None = None
    waiting_for_customer: bool | None = None


def create_ticket(session: Session, who: Identity, wish: TicketWish, *, ticket_id: str) -> Ticket:
    """Raises NotFound (conversation), ValidationFailed (an order or invoice that is not the customer's)."""
    customer_id = wish.customer_id or who.user_id
    care = bool(who.roles & CARE_ROLES)
    if customer_id != who.user_id and not care:
        raise Forbidden()
    if wish.conversation_id is not None:
        conversation = get_conversation(session, who, wish.conversation_id)
        if care and wish.customer_id is None:
            customer_id = conversation.customer_id
        if conversation.customer_id != customer_id:
            raise _unknown("conversation_id")
    _must_be_theirs(session, customer_id, wish)
    now = clock.now()
    ticket = Ticket(
        id=ticket_id,
        number=_next_number(session),
        customer_id=customer_id,
        conversation_id=wish.conversation_id,
        subject=wish.subject,
        description=wish.description,
        category=wish.category,
        priority=wish.priority if care else min(wish.priority, Priority.NORMAL, key=_URGENCY.index),
        state=TicketState.OPEN,
        order_id=wish.order_id,
        invoice_id=wish.invoice_id,
        created_at=now,
        updated_at=now,
    )
    ticket.start_clocks()
    session.add(ticket)
    session.flush()
    session.add(events.ticket_created(ticket))
    return ticket


_URGENCY = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT]
"""Customers ask for up to `normal`; what is more urgent customer care decides."""


def change_ticket(session: Session, who: Identity, wish: TicketChanges, *, ticket_id: str) -> Ticket:
    """Change it and keep the history. A customer may only close a resolved one or take it up again.

    Raises NotFound, Forbidden, TicketClosed, WrongTransition.
    """
    ticket = get_ticket(session, who, ticket_id, lock=True)
    ticket.must_not_be_closed()
    if not who.roles & CARE_ROLES:
        _customer_may(ticket, wish)
    if wish.priority is not None and wish.priority is not ticket.priority:
        _note(session, who, ticket, "priority", ticket.priority, wish.priority)
        ticket.set_priority(wish.priority)
    if wish.category is not None and wish.category is not ticket.category:
        _note(session, who, ticket, "category", ticket.category, wish.category)
        ticket.category = wish.category
    if wish.agent_id is not None and wish.agent_id != ticket.agent_id:
        _note(session, who, ticket, "agent_id", ticket.agent_id, wish.agent_id)
        ticket.agent_id = wish.agent_id
    if wish.waiting_for_customer is not None and wish.waiting_for_customer is not bool(ticket.paused_at):
        _note(session, who, ticket, "waiting_for_customer", str(bool(ticket.paused_at)).lower(),
              str(wish.waiting_for_customer).lower())  # fmt: skip
        if wish.waiting_for_customer:
            ticket.pause()
        else:
            ticket.resume()
    if wish.state is not None and wish.state is not ticket.state:
        _note(session, who, ticket, "state", ticket.state, wish.state)
        ticket.move_to(wish.state)
        resolved = wish.state is TicketState.RESOLVED
        session.add(events.ticket_resolved(ticket) if resolved else events.ticket_updated(ticket))
    ticket.updated_at = clock.now()
    return ticket


def add_comment(
    session: Session, who: Identity, *, ticket_id: str, comment_id: str, body: str, internal: bool
) -> TicketComment:
    """A word of the customer sets the clocks going again and takes a resolved ticket up; a public one of customer
    care is told to the customer. Raises NotFound, Forbidden (internal), TicketClosed."""
    ticket = get_ticket(session, who, ticket_id, lock=True)
    ticket.must_not_be_closed()
    by_care = ticket.customer_id != who.user_id
    if internal and not by_care:
        raise Forbidden()
    comment = TicketComment(
        id=comment_id,
        ticket_id=ticket_id,
        author_id=who.user_id,
        by_care=by_care,
        internal=internal,
        body=body,
    )
    session.add(comment)
    if by_care and not internal:
        ticket.first_responded_at = ticket.first_responded_at or clock.now()
        session.add(events.ticket_updated(ticket))
    elif not by_care:
        ticket.resume()
        if ticket.state is TicketState.RESOLVED:
            _note(session, who, ticket, "state", ticket.state, TicketState.IN_PROGRESS)
            ticket.move_to(TicketState.IN_PROGRESS)
    ticket.updated_at = clock.now()
    session.flush()
    return comment


def _customer_may(ticket: Ticket, wish: TicketChanges) -> None:
    only_state = wish == TicketChanges(state=wish.state)
    allowed = ticket.state is TicketState.RESOLVED and wish.state in (
        TicketState.CLOSED,
        TicketState.IN_PROGRESS,
    )
    if not only_state or not (allowed or wish.state in (None, ticket.state)):
        raise Forbidden()


def _note(
    session: Session, who: Identity, ticket: Ticket, field: str, before: str | None, after: str | None
) -> None:
    was, becomes = (value.value if isinstance(value, StrEnum) else value for value in (before, after))
    session.add(TicketChange(ticket_id=ticket.id, by=who.user_id, field=field, before=was, after=becomes))


def _must_be_theirs(session: Session, customer_id: str, wish: TicketWish) -> None:
    if wish.order_id is not None:
        order = session.get(Order, wish.order_id)
        if order is None or order.user_id != customer_id:
            raise _unknown("order_id")
    if wish.invoice_id is not None:
        invoice = session.get(Invoice, wish.invoice_id)
        if invoice is None or invoice.user_id != customer_id:
            raise _unknown("invoice_id")


def _unknown(field: str) -> ValidationFailed:
    return ValidationFailed(errors=[{"field": field, "message": "the customer has no such thing"}])


def _next_number(session: Session) -> str:
    """`TCK-2026-000042`; gapless in its year, so others wait for this transaction's end."""
    year = clock.today().year
    series = session.get(TicketSeries, year, with_for_update=True)
    if series is None:
        try:
            with session.begin_nested():
                session.add(TicketSeries(year=year, last=0))
        except IntegrityError:  # another transaction began the year meanwhile
            pass
        series = session.get_one(TicketSeries, year, with_for_update=True)
    series.last += 1
    return f"TCK-{year}-{series.last:06d}"
