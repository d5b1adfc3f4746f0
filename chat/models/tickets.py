"""Support tickets with their comments and history."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from chat.errors import TicketClosed, WrongTransition
from chat.models.base import Base
from chat.models.conversations import SUBJECT_LENGTH, User
from common import clock, ids
from common.db import Id, enum_column


class TicketState(StrEnum):
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Category(StrEnum):
    BILLING = "billing"
    PAYMENT = "payment"
    SERVICE = "service"
    NETWORK = "network"
    OTHER = "other"


FIRST_RESPONSE_WITHIN = {
    Priority.URGENT: timedelta(hours=1),
    Priority.HIGH: timedelta(hours=4),
    Priority.NORMAL: timedelta(hours=8),
    Priority.LOW: timedelta(hours=24),
}
RESOLVE_WITHIN = {
    Priority.URGENT: timedelta(hours=4),
    Priority.HIGH: timedelta(hours=24),
    Priority.NORMAL: timedelta(hours=72),
    Priority.LOW: timedelta(hours=168),
}
_NEXT = {
    TicketState.OPEN: {TicketState.IN_PROGRESS, TicketState.RESOLVED},
    TicketState.IN_PROGRESS: {TicketState.OPEN, TicketState.RESOLVED},
    TicketState.RESOLVED: {TicketState.IN_PROGRESS, TicketState.CLOSED},
    TicketState.CLOSED: set[TicketState](),
}


class Ticket(Base):
    """A request that outlives a conversation. Its clocks stand still while `paused_at` is set (the customer's turn)."""

    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_customer_id_id", "customer_id", "id"),
        Index("ix_tickets_state_id", "state", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[str] = mapped_column(String(20), unique=True)
    customer_id: Mapped[str] = mapped_column(Id)
    conversation_id: Mapped[str | None] = mapped_column(ForeignKey("conversations.id"))
    subject: Mapped[str] = mapped_column(String(SUBJECT_LENGTH))
    description: Mapped[str] = mapped_column(Text)
    category: Mapped[Category] = mapped_column(enum_column(Category))
    priority: Mapped[Priority] = mapped_column(enum_column(Priority))
    state: Mapped[TicketState] = mapped_column(enum_column(TicketState))
    order_id: Mapped[str | None] = mapped_column(Id)
    invoice_id: Mapped[str | None] = mapped_column(Id)
    agent_id: Mapped[str | None] = mapped_column(Id)
    first_response_due_at: Mapped[datetime]
    resolution_due_at: Mapped[datetime]
    first_responded_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now)

    customer: Mapped[User | None] = relationship(
        primaryjoin="foreign(Ticket.customer_id) == User.id", viewonly=True
    )

    def start_clocks(self) -> None:
        """By the priority, from the moment at which the ticket was made."""
        self.first_response_due_at = self.created_at + FIRST_RESPONSE_WITHIN[self.priority]
        self.resolution_due_at = self.created_at + RESOLVE_WITHIN[self.priority]

    def set_priority(self, priority: Priority) -> None:
        """The clocks follow, without the time for which they stood still being lost."""
        self._move_clocks(
            FIRST_RESPONSE_WITHIN[priority] - FIRST_RESPONSE_WITHIN[self.priority],
            RESOLVE_WITHIN[priority] - RESOLVE_WITHIN[self.priority],
        )
        self.priority = priority

    def _move_clocks(self, first_response: timedelta, resolution: timedelta) -> None:
        """The first response's stands for good once it was given: late stays late."""
        if self.first_responded_at is None:
            self.first_response_due_at += first_response
        self.resolution_due_at += resolution

    def pause(self) -> None:
        """The customer's turn; safe to repeat. Raises WrongTransition."""
        if self.state is TicketState.RESOLVED:
            raise WrongTransition("A ticket that is resolved waits for nobody")
        self.paused_at = self.paused_at or clock.now()

    def resume(self) -> None:
        """Our turn again: the clocks go on where they stood."""
        if self.paused_at is None:
            return
        stood = clock.now() - self.paused_at
        self._move_clocks(stood, stood)
        self.paused_at = None

    def move_to(self, state: TicketState) -> None:
        """Raises WrongTransition."""
        if state not in _NEXT[self.state]:
            raise WrongTransition(f"A ticket that is {self.state.value} cannot become {state.value}")
        if state is TicketState.RESOLVED:
            self.resume()
            self.resolved_at = clock.now()
        elif self.state is TicketState.RESOLVED and state is TicketState.IN_PROGRESS:
            assert self.resolved_at is not None
            stood = clock.now() - self.resolved_at
            self._move_clocks(stood, stood)
            self.resolved_at = None
        self.state = state

    def must_not_be_closed(self) -> None:
        if self.state is TicketState.CLOSED:
            raise TicketClosed()


class TicketComment(Base):
    """A word on a ticket; one that is `internal` is customer care's own."""

    __tablename__ = "ticket_comments"
    __table_args__ = (Index("ix_ticket_comments_ticket_id_id", "ticket_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    ticket_id: Mapped[str] = mapped_column(ForeignKey("tickets.id"))
    author_id: Mapped[str] = mapped_column(Id)
    by_care: Mapped[bool]
    internal: Mapped[bool]
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    author: Mapped[User | None] = relationship(
        primaryjoin="foreign(TicketComment.author_id) == User.id", viewonly=True
    )


class TicketChange(Base):
    """A change of a ticket: who, when, which field, from what to what."""

    __tablename__ = "ticket_changes"
    __table_args__ = (Index("ix_ticket_changes_ticket_id_id", "ticket_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    ticket_id: Mapped[str] = mapped_column(ForeignKey("tickets.id"))
    by: Mapped[str] = mapped_column(Id)
    field: Mapped[str] = mapped_column(String(30))
    before: Mapped[str | None] = mapped_column(String(200))
    after: Mapped[str | None] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(default=clock.now)


class TicketSeries(Base):
    """The last number given in a year: whoever makes a ticket holds this row's lock."""

    __tablename__ = "ticket_series"
    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int]
