"""Conversations, their messages, read marks and notes, and who takes part in them."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from chat.errors import AlreadyRated, ConversationClosed, ConversationTaken, NotClosedYet, NotWaiting
from chat.models.base import Base
from common import clock, ids
from common.db import Id, enum_column

SUBJECT_LENGTH = 200
BODY_CHARACTERS = 4000
BODY_BYTES = 4096
CLIENT_MESSAGE_ID_LENGTH = 100
TEAM_LENGTH = 50
COMMENT_LENGTH = 1000
BOT_ID = "00000000-0000-7000-8000-000000000b07"
SYSTEM_ID = "00000000-0000-7000-8000-000000000515"
HOUSE_NAMES = {BOT_ID: "Sri-Care assistant", SYSTEM_ID: "Sri-Care"}
"""Senders that are no accounts."""


class State(StrEnum):
    BOT = "bot"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    CLOSED = "closed"


class SenderRole(StrEnum):
    CUSTOMER = "customer"
    AGENT = "agent"
    BOT = "bot"
    SYSTEM = "system"


class User(Base):
    """What chat knows of an account, from auth's events; may lag behind the account's first message."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str] = mapped_column(String(2), default="en", server_default="en")
    known_at: Mapped[datetime]


class Conversation(Base):
    """A customer's conversation. `last_seq` counts its messages: whoever adds one holds this row's lock."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_customer_id_id", "customer_id", "id"),
        Index("ix_conversations_state_id", "state", "id"),
        Index("ix_conversations_agent_id_id", "agent_id", "id"),
        Index("ix_conversations_missed_at", "missed_at"),
        Index("ix_conversations_state_queued_at", "state", "queued_at"),
        Index("ix_conversations_bot_due_seq", "bot_due_seq"),
        Index("ix_conversations_waiting_since", "waiting_since"),
        Index("ix_conversations_idle_since", "idle_since"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    customer_id: Mapped[str] = mapped_column(Id)
    agent_id: Mapped[str | None] = mapped_column(Id)
    subject: Mapped[str | None] = mapped_column(String(SUBJECT_LENGTH))
    state: Mapped[State] = mapped_column(enum_column(State))
    last_seq: Mapped[int] = mapped_column(Integer, default=0)
    missed_at: Mapped[datetime | None]
    """When the customer is to be told of an agent's unseen message; None: nothing unseen, or told already."""
    missed_seq: Mapped[int] = mapped_column(Integer, default=0)
    """The agent's last message that the customer has not seen; 0: has seen all."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now)
    closed_at: Mapped[datetime | None]

    queued_at: Mapped[datetime | None]
    """Since when it waits for a person; kept when it comes back to the queue, so that nobody loses the turn."""
    team: Mapped[str | None] = mapped_column(String(TEAM_LENGTH))
    """Only agents of this team are given it; None: any agent."""
    assigned_at: Mapped[datetime | None]
    waiting_since: Mapped[datetime | None]
    """Since when the customer waits for the assigned agent's answer."""
    idle_since: Mapped[datetime | None]
    """Since when it is the customer's turn."""
    idle_warned: Mapped[bool] = mapped_column(default=False, server_default=false())
    bot_due_seq: Mapped[int | None] = mapped_column(Integer)
    """The customer's message that the bot has not answered yet."""
    bot_pending: Mapped[str | None] = mapped_column(String(50))
    """What the bot has asked and a yes would do."""
    rating: Mapped[int | None] = mapped_column(Integer)
    rating_comment: Mapped[str | None] = mapped_column(String(COMMENT_LENGTH))
    transcript_at: Mapped[datetime | None]
    """When a copy of it was last asked for."""

    customer: Mapped[User | None] = relationship(
        primaryjoin="foreign(Conversation.customer_id) == User.id", viewonly=True
    )
    agent: Mapped[User | None] = relationship(
        primaryjoin="foreign(Conversation.agent_id) == User.id", viewonly=True
    )

    def role_of(self, user_id: str) -> SenderRole:
        """As what a user who may see this conversation takes part in it."""
        return SenderRole.CUSTOMER if user_id == self.customer_id else SenderRole.AGENT

    def next_seq(self) -> int:
        """The number of the next message. Raises ConversationClosed."""
        self.must_be_open()
        self.last_seq += 1
        self.updated_at = clock.now()
        return self.last_seq

    def must_be_open(self) -> None:
        if self.state is State.CLOSED:
            raise ConversationClosed()

    def hand_over(self) -> bool:
        """Put it into the queue for a person; whether this did it now."""
        if self.state is not State.BOT:
            return False
        now = clock.now()
        self.state, self.queued_at, self.updated_at = State.QUEUED, now, now
        self.bot_due_seq = self.bot_pending = self.idle_since = None
        self.idle_warned = False
        return True

    def assign(self, agent_id: str) -> None:
        """Give it to an agent whose capacity the caller has made sure of. Raises ConversationClosed,
        ConversationTaken."""
        self.must_be_open()
        if self.state is State.ASSIGNED:
            raise ConversationTaken()
        now = clock.now()
        self.state, self.agent_id, self.assigned_at, self.updated_at = State.ASSIGNED, agent_id, now, now
        self.waiting_since = self.waiting_since or now
        self.bot_due_seq = self.bot_pending = self.idle_since = None
        self.idle_warned = False

    def release(self, team: str | None = None) -> None:
        """Take it from its agent and back to where it stood in the queue. Raises NotWaiting."""
        if self.state is not State.ASSIGNED:
            raise NotWaiting()
        now = clock.now()
        self.state, self.agent_id, self.assigned_at, self.updated_at = State.QUEUED, None, None, now
        self.queued_at, self.team = self.queued_at or now, team
        self.waiting_since = self.idle_since = None

    def close(self) -> bool:
        """Whether this closed it now (False: it was closed before)."""
        if self.state is State.CLOSED:
            return False
        self.state = State.CLOSED
        self.closed_at = self.updated_at = clock.now()
        self.waiting_since = self.idle_since = self.bot_due_seq = self.bot_pending = None
        return True

    def rate(self, score: int, comment: str | None) -> None:
        """Once, after it was closed; the same again changes nothing. Raises NotClosedYet, AlreadyRated."""
        if self.state is not State.CLOSED:
            raise NotClosedYet()
        if self.rating is not None and (self.rating, self.rating_comment) != (score, comment):
            raise AlreadyRated()
        self.rating, self.rating_comment, self.updated_at = score, comment, clock.now()

    def customer_spoke(self, seq: int) -> None:
        """Whose turn it is after the customer's message `seq`."""
        self.customer_has_seen(seq)
        self.idle_since, self.idle_warned = None, False
        if self.state is State.BOT:
            self.bot_due_seq = seq
        elif self.state is State.ASSIGNED:
            self.waiting_since = self.waiting_since or clock.now()

    def care_spoke(self) -> None:
        """It is the customer's turn now."""
        self.waiting_since, self.idle_since, self.idle_warned = None, clock.now(), False

    def customer_owes_a_look(self, seq: int, within: timedelta) -> None:
        """An agent wrote message `seq`. One notice is due per absence, however many messages it brings."""
        if self.missed_seq == 0:
            self.missed_at = clock.now() + within
        self.missed_seq = seq

    def customer_has_seen(self, seq: int) -> None:
        """The customer has seen everything up to `seq`."""
        if seq >= self.missed_seq:
            self.missed_at, self.missed_seq = None, 0


class Message(Base):
    """A message, stored once per `client_message_id` of its sender; never changed."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        UniqueConstraint("conversation_id", "sender_id", "client_message_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    seq: Mapped[int] = mapped_column(Integer)
    client_message_id: Mapped[str] = mapped_column(String(CLIENT_MESSAGE_ID_LENGTH))
    sender_id: Mapped[str] = mapped_column(Id)
    sender_role: Mapped[SenderRole] = mapped_column(enum_column(SenderRole))
    body: Mapped[str] = mapped_column(Text)
    offer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the bot lets the customer do with this message, by `kind`; see `schemas.conversations.OfferOut`."""
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    sender: Mapped[User | None] = relationship(
        primaryjoin="foreign(Message.sender_id) == User.id", viewonly=True
    )


class ReadMark(Base):
    """How far a participant has read; only moves forward."""

    __tablename__ = "read_marks"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    seq: Mapped[int] = mapped_column(Integer)
    read_at: Mapped[datetime] = mapped_column(default=clock.now)


class Note(Base):
    """What customer care notes about a conversation; the customer never sees it."""

    __tablename__ = "notes"
    __table_args__ = (Index("ix_notes_conversation_id_id", "conversation_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    author_id: Mapped[str] = mapped_column(Id)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    author: Mapped[User | None] = relationship(
        primaryjoin="foreign(Note.author_id) == User.id", viewonly=True
    )
