"""Support tickets: requests and responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field

from chat.models import (
    SUBJECT_LENGTH,
    Category,
    Priority,
    Ticket,
    TicketChange,
    TicketComment,
    TicketState,
)
from chat.schemas.conversations import ConversationId, PersonOut, Text
from common import clock
from common.db import PageQuery
from common.schemas import Body

StateIn = Annotated[TicketState, Field(strict=False)]
PriorityIn = Annotated[Priority, Field(strict=False)]
CategoryIn = Annotated[Category, Field(strict=False)]


class TicketIn(Body):
    subject: str = Field(min_length=1, max_length=SUBJECT_LENGTH)
    description: Text
    category: CategoryIn = Category.OTHER
    priority: PriorityIn = Field(default=Priority.NORMAL, description="customers get at most `normal`")
    customer_id: ConversationId | None = Field(default=None, description="agents: for whom")
    conversation_id: ConversationId | None = None
    order_id: ConversationId | None = None
    invoice_id: ConversationId | None = None


class TicketPatch(Body):
    """Fields left out stay. Customers may only set `state`, of a resolved ticket, to `closed` or `in_progress`."""

    state: StateIn | None = None
    priority: PriorityIn | None = None
    category: CategoryIn | None = None
    agent_id: ConversationId | None = None
    waiting_for_customer: bool | None = Field(default=None, description="its clocks stand still meanwhile")


class TicketsQuery(PageQuery):
    state: TicketState | None = None
    customer_id: ConversationId | None = None


class CommentIn(Body):
    body: Text
    internal: bool = Field(default=False, description="customer care only")


class CommentOut(BaseModel):
    id: str
    author: PersonOut
    by_care: bool
    internal: bool
    body: str
    created_at: datetime

    @classmethod
    def of(cls, comment: TicketComment) -> Self:
        return cls(
            id=comment.id,
            author=PersonOut.of(comment.author_id, comment.author),
            by_care=comment.by_care,
            internal=comment.internal,
            body=comment.body,
            created_at=comment.created_at,
        )


class ChangeOut(BaseModel):
    by: str
    field: str
    before: str | None
    after: str | None
    at: datetime


class SlaOut(BaseModel):
    first_response_due_at: datetime
    first_responded_at: datetime | None
    resolution_due_at: datetime
    resolved_at: datetime | None
    paused: bool = Field(description="the clocks stand still: it is the customer's turn")
    breached: bool

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        now = ticket.paused_at or clock.now()
        late = (ticket.first_responded_at or ticket.resolved_at or now) > ticket.first_response_due_at
        return cls(
            first_response_due_at=ticket.first_response_due_at,
            first_responded_at=ticket.first_responded_at,
            resolution_due_at=ticket.resolution_due_at,
            resolved_at=ticket.resolved_at,
            paused=ticket.paused_at is not None,
            breached=late or (ticket.resolved_at or now) > ticket.resolution_due_at,
        )


class TicketOut(BaseModel):
    id: str
    number: str
    customer: PersonOut
    conversation_id: str | None
    subject: str
    description: str
    category: Category
    priority: Priority
    state: TicketState
    order_id: str | None
    invoice_id: str | None
    agent_id: str | None
    sla: SlaOut
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        return cls.model_validate(_fields(ticket))


class TicketDetailOut(TicketOut):
    comments: list[CommentOut]
    history: list[ChangeOut]

    @classmethod
    def with_story(
        cls, ticket: Ticket, comments: Sequence[TicketComment], changes: Sequence[TicketChange]
    ) -> Self:
        story = {
            "comments": [CommentOut.of(comment) for comment in comments],
            "history": [ChangeOut.model_validate(change, from_attributes=True) for change in changes],
        }
        return cls.model_validate(_fields(ticket) | story)


def _fields(ticket: Ticket) -> dict[str, object]:
    names = ("id", "number", "conversation_id", "subject", "description", "category", "priority", "state",
             "order_id", "invoice_id", "agent_id", "created_at", "updated_at")  # fmt: skip
    fields: dict[str, object] = {name: getattr(ticket, name) for name in names}
    return fields | {"customer": PersonOut.of(ticket.customer_id, ticket.customer), "sla": SlaOut.of(ticket)}
