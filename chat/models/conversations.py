"""Tables of chat."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from chat.errors import ConversationClosed
from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata

SUBJECT_LENGTH = 200
BODY_CHARACTERS = 4000
BODY_BYTES = 4096
CLIENT_MESSAGE_ID_LENGTH = 100


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


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
    known_at: Mapped[datetime]


class Conversation(Base):
    """A customer's conversation. `last_seq` counts its messages: whoever adds one holds this row's lock."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_customer_id_id", "customer_id", "id"),
        Index("ix_conversations_state_id", "state", "id"),
        Index("ix_conversations_agent_id_id", "agent_id", "id"),
        Index("ix_conversations_missed_at", "missed_at"),
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
        if self.state is State.CLOSED:
            raise ConversationClosed()
        self.last_seq += 1
        self.updated_at = clock.now()
        return self.last_seq

    def assign(self, agent_id: str) -> bool:
        """Give a waiting conversation to an agent; whether it was waiting."""
        if self.state not in (State.BOT, State.QUEUED):
            return False
        self.state, self.agent_id, self.updated_at = State.ASSIGNED, agent_id, clock.now()
        return True

    def close(self) -> bool:
        """Whether this closed it now (False: it was closed before)."""
        if self.state is State.CLOSED:
            return False
        self.state = State.CLOSED
        self.closed_at = self.updated_at = clock.now()
        return True

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
