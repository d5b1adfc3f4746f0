"""Conversations: requests, responses and Socket.IO payloads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field

from chat.models import (
    BODY_BYTES,
    BODY_CHARACTERS,
    CLIENT_MESSAGE_ID_LENGTH,
    COMMENT_LENGTH,
    HOUSE_NAMES,
    SUBJECT_LENGTH,
    Conversation,
    Message,
    ReadMark,
    SenderRole,
    State,
    User,
)
from chat.queries.care import Place
from common.db import PageQuery
from common.ids import UUID_PATTERN
from common.money import Money
from common.schemas import Body

LARGEST_SEQ = 2**31 - 1
MESSAGES_PER_PAGE = 100


def _fits(value: str) -> str:
    if len(value.encode()) > BODY_BYTES:
        raise ValueError(f"must not exceed {BODY_BYTES} bytes in UTF-8")
    return value


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain a NUL character")
    return value


Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=BODY_CHARACTERS,
        description=f"plain text, never markup; at most {BODY_BYTES} bytes in UTF-8",
        examples=["My data pack is gone"],
    ),
    AfterValidator(_fits),
    AfterValidator(_without_nul),
]
ClientMessageId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=CLIENT_MESSAGE_ID_LENGTH,
        description="chosen by the client, the same again when it repeats a message",
    ),
    AfterValidator(_without_nul),
]
ConversationId = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$", max_length=36)]
AfterSeq = Annotated[int, Field(ge=0, le=LARGEST_SEQ, description="the last message that the client has")]


class ConversationIn(Body):
    subject: Annotated[str, Field(min_length=1, max_length=SUBJECT_LENGTH)] | None = None


class ConversationsQuery(PageQuery):
    state: State | None = None
    agent_id: ConversationId | None = Field(default=None, description="only those that this agent has or had")


class MessagesQuery(BaseModel):
    model_config = {"extra": "forbid"}

    after_seq: AfterSeq = 0
    limit: int = Field(default=MESSAGES_PER_PAGE, ge=1, le=100)


class MessageIn(Body):
    client_message_id: ClientMessageId
    body: Text


class RatingIn(Body):
    score: int = Field(ge=1, le=5, description="5 is best")
    comment: (
        Annotated[str, Field(min_length=1, max_length=COMMENT_LENGTH), AfterValidator(_without_nul)] | None
    ) = None


class JoinIn(Body):
    """Payload of `conversation:join`."""

    conversation_id: ConversationId
    after_seq: AfterSeq = 0


class SendIn(MessageIn):
    """Payload of `message:send`."""

    conversation_id: ConversationId


class ReadIn(Body):
    """Payload of `message:read`."""

    conversation_id: ConversationId
    seq: int = Field(ge=1, le=LARGEST_SEQ)


class RefreshIn(Body):
    """Payload of `auth:refresh`."""

    token: str = Field(min_length=1, max_length=8192)


class TypingIn(Body):
    """Payload of `typing`."""

    conversation_id: ConversationId
    active: bool


class PersonOut(BaseModel):
    id: str
    name: str | None = Field(description="null until auth's news of the account has arrived")

    @classmethod
    def of(cls, user_id: str, user: User | None) -> Self:
        return cls(id=user_id, name=user.name if user else None)


class SenderOut(PersonOut):
    role: SenderRole


class OfferOut(BaseModel):
    """Something that the customer may do with the own token, after confirming it: `pay` an invoice at
    `POST /api/payment/process`, or `order` an offering at `POST /api/provisioning/orders`."""

    kind: Literal["pay", "order"]
    invoice_id: str | None = None
    number: str | None = Field(default=None, description="the invoice's")
    amount: Money | None = None
    link: str | None = Field(default=None, description="where the invoice can be paid by card")
    category: str | None = Field(default=None, description="of the offerings to choose from; null: any")
    expires_at: datetime


class MessageOut(BaseModel):
    id: str
    client_message_id: str
    conversation_id: str
    seq: int = Field(description="1, 2, 3… in its conversation, without gaps")
    sender: SenderOut
    body: str
    created_at: datetime
    offer: OfferOut | None = None

    @classmethod
    def of(cls, message: Message) -> Self:
        return cls(
            id=message.id,
            client_message_id=message.client_message_id,
            conversation_id=message.conversation_id,
            seq=message.seq,
            sender=SenderOut(
                id=message.sender_id,
                name=message.sender.name if message.sender else HOUSE_NAMES.get(message.sender_id),
                role=message.sender_role,
            ),
            body=message.body,
            created_at=message.created_at,
            offer=OfferOut.model_validate(message.offer) if message.offer else None,
        )


class MessagesOut(BaseModel):
    """Messages in their order, unlike other lists: a client catches up with them."""

    items: list[MessageOut]
    next_cursor: str | None = Field(description="the `after_seq` of the next page; null: this was the last")


class PlaceOut(BaseModel):
    """Payload of the server's `queue:position`."""

    conversation_id: str
    position: int = Field(description="1: next")
    estimated_wait_s: int | None = Field(description="null: nobody takes conversations at the moment")

    @classmethod
    def of(cls, place: Place) -> Self:
        return cls(
            conversation_id=place.conversation_id,
            position=place.position,
            estimated_wait_s=place.estimated_wait_s,
        )


class ConversationOut(BaseModel):
    id: str
    subject: str | None
    state: State
    customer: PersonOut
    agent: PersonOut | None
    last_seq: int = Field(description="number of messages")
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    team: str | None = Field(description="only agents of this team are given it")
    queued_at: datetime | None
    waiting_since: datetime | None = Field(description="since when the customer waits for the agent's answer")
    rating: int | None = Field(description="1 to 5, after it was closed")
    queue: PlaceOut | None = Field(
        default=None,
        description="where one that waits stands; left out of lists and of what sockets are told",
    )

    @classmethod
    def of(cls, conversation: Conversation, place: Place | None = None) -> Self:
        agent_id = conversation.agent_id
        return cls(
            id=conversation.id,
            subject=conversation.subject,
            state=conversation.state,
            customer=PersonOut.of(conversation.customer_id, conversation.customer),
            agent=PersonOut.of(agent_id, conversation.agent) if agent_id else None,
            last_seq=conversation.last_seq,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
            closed_at=conversation.closed_at,
            team=conversation.team,
            queued_at=conversation.queued_at,
            waiting_since=conversation.waiting_since,
            rating=conversation.rating,
            queue=PlaceOut.of(place) if place else None,
        )


class ReadMarkOut(BaseModel):
    """Payload of the server's `message:read`."""

    conversation_id: str
    user_id: str
    seq: int
    read_at: datetime

    @classmethod
    def of(cls, mark: ReadMark) -> Self:
        return cls(
            conversation_id=mark.conversation_id, user_id=mark.user_id, seq=mark.seq, read_at=mark.read_at
        )


@dataclass(frozen=True, slots=True)
class SentOut:
    """What there is to tell of a message that was sent; `conversation` where more than its messages changed."""

    message: MessageOut
    conversation: ConversationOut | None
    stored_now: bool

    @classmethod
    def of(cls, message: Message, conversation: Conversation, stored_now: bool, taken: bool) -> Self:
        changed = ConversationOut.of(conversation) if taken or not stored_now else None
        return cls(MessageOut.of(message), changed, stored_now)
