"""Customer care: agents, queue, transfers, notes, canned responses, the customer's card."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from chat.models import (
    CAPACITY_AT_MOST,
    HOUSE_NAMES,
    SHORTCUT_LENGTH,
    TEAM_LENGTH,
    Agent,
    CannedResponse,
    Note,
)
from chat.queries.accounts import Facts
from chat.schemas.conversations import ConversationId, ConversationOut, PersonOut, Text
from common.money import Money
from common.schemas import Body

Team = Annotated[str, Field(min_length=1, max_length=TEAM_LENGTH, pattern=r"^[a-z0-9_-]+$")]
Language = Literal["en", "si", "ta"]


class StatusIn(Body):
    """Also the payload of `agent:status`."""

    available: bool
    capacity: int | None = Field(
        default=None, ge=1, le=CAPACITY_AT_MOST, description="conversations at a time; left out: as before"
    )
    team: Team | None = None


class AgentOut(BaseModel):
    """Also the payload of the server's `presence` about an agent."""

    id: str
    name: str | None
    available: bool
    capacity: int
    team: str | None
    load: int = Field(description="conversations that the agent has")
    seen_at: datetime

    @classmethod
    def of(cls, agent: Agent, load: int) -> Self:
        return cls(
            id=agent.id,
            name=agent.user.name if agent.user else None,
            available=agent.available,
            capacity=agent.capacity,
            team=agent.team,
            load=load,
            seen_at=agent.seen_at,
        )


class QueueOut(BaseModel):
    """Who waits, the oldest first, and who works: the supervisor's view too."""

    items: list[ConversationOut]
    agents: list[AgentOut]
    open_now: bool = Field(description="whether these are business hours")


class TransferIn(Body):
    """To a person or to a team's queue: exactly one of the two."""

    agent_id: ConversationId | None = None
    team: Team | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.agent_id is None) == (self.team is None):
            raise ValueError("give either agent_id or team")
        return self


class NoteIn(Body):
    body: Text


class NoteOut(BaseModel):
    id: str
    conversation_id: str
    author: PersonOut
    body: str
    created_at: datetime

    @classmethod
    def of(cls, note: Note) -> Self:
        name = note.author.name if note.author else HOUSE_NAMES.get(note.author_id)
        return cls(
            id=note.id,
            conversation_id=note.conversation_id,
            author=PersonOut(id=note.author_id, name=name),
            body=note.body,
            created_at=note.created_at,
        )


class CannedResponseIn(Body):
    shortcut: str = Field(min_length=1, max_length=SHORTCUT_LENGTH, pattern=r"^[a-z0-9_-]+$")
    language: Language = "en"
    body: Text


class CannedResponseOut(BaseModel):
    id: str
    shortcut: str
    language: str
    body: str
    updated_at: datetime

    @classmethod
    def of(cls, found: CannedResponse) -> Self:
        return cls(
            id=found.id,
            shortcut=found.shortcut,
            language=found.language,
            body=found.body,
            updated_at=found.updated_at,
        )


class OpenInvoiceOut(BaseModel):
    id: str
    number: str
    state: str
    amount_due: Money
    due_on: date | None


class CustomerOrderOut(BaseModel):
    id: str
    number: str
    offering_name: str
    state: str


class CustomerServiceOut(BaseModel):
    id: str
    offering_name: str
    allowances: list[dict[str, Any]]
    expires_at: datetime | None


class CustomerOut(BaseModel):
    """The customer's card: what the events of the other services have told so far."""

    id: str
    name: str | None
    language: str | None
    balance: Money | None = Field(description="null: the wallet has not moved yet")
    barred: str | None
    open_invoices: list[OpenInvoiceOut]
    orders: list[CustomerOrderOut]
    services: list[CustomerServiceOut]

    @classmethod
    def of(cls, user_id: str, facts: Facts) -> Self:
        return cls(
            id=user_id,
            name=facts.user.name if facts.user else None,
            language=facts.user.language if facts.user else None,
            balance=facts.wallet.balance if facts.wallet else None,
            barred=facts.barred,
            open_invoices=[
                OpenInvoiceOut.model_validate(found, from_attributes=True) for found in facts.open_invoices
            ],
            orders=[CustomerOrderOut.model_validate(found, from_attributes=True) for found in facts.orders],
            services=[
                CustomerServiceOut.model_validate(found, from_attributes=True) for found in facts.services
            ],
        )
