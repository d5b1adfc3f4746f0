"""Decisions and writes of chat."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from chat import events
from chat.models import Conversation, Message, ReadMark, SenderRole, State, User
from chat.queries import get_conversation
from common import clock
from common.errors import ValidationFailed
from common.identity import Identity

MISSED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message; `taken`: it gave the waiting conversation to its agent."""

    message: Message
    conversation: Conversation
    stored_now: bool
    taken: bool = False


def open_conversation(
    session: Session, *, conversation_id: str, customer_id: str, subject: str | None
) -> Conversation:
    """A new conversation, waiting for a person (a bot that answers first will start it in `bot`)."""
    opened = Conversation(
        id=conversation_id,
        customer_id=customer_id,
        subject=subject,
        state=State.QUEUED,
        last_seq=0,
        missed_seq=0,
    )
    session.add(opened)
    session.flush()
    return opened


def send_message(
    session: Session,
    who: Identity,
    *,
    conversation_id: str,
    client_message_id: str,
    body: str,
    missed_after: timedelta,
) -> Sent:
    """Store a message under the conversation's next number.

    Safe to repeat: the same `client_message_id` of the same sender is the same message, whatever the body and even
    after the conversation was closed. The first answer of an agent takes a waiting conversation.
    Raises NotFound, ConversationClosed.
    """
    conversation = get_conversation(session, who, conversation_id, lock=True)
    known = session.scalar(
        select(Message).where(
            Message.conversation_id == conversation_id,
            Message.sender_id == who.user_id,
            Message.client_message_id == client_message_id,
        )
    )
    if known is not None:
        return Sent(known, conversation, stored_now=False)
    role = conversation.role_of(who.user_id)
    message = Message(
        conversation_id=conversation_id,
        seq=conversation.next_seq(),
        client_message_id=client_message_id,
        sender_id=who.user_id,
        sender_role=role,
        body=body,
    )
    session.add(message)
    taken = False
    if role is SenderRole.AGENT:
        taken = conversation.assign(who.user_id)
        conversation.customer_owes_a_look(message.seq, missed_after)
    else:
        conversation.customer_has_seen(message.seq)
    session.flush()
    return Sent(message, conversation, stored_now=True, taken=taken)


def close_conversation(session: Session, who: Identity, *, conversation_id: str) -> tuple[Conversation, bool]:
    """Close it; safe to repeat: (conversation, closed now). Raises NotFound."""
    conversation = get_conversation(session, who, conversation_id, lock=True)
    return conversation, conversation.close()


def mark_read(session: Session, who: Identity, *, conversation_id: str, seq: int) -> tuple[ReadMark, bool]:
    """Note that the caller has read up to `seq`: (mark, moved forward now). Raises NotFound, ValidationFailed."""
    conversation = get_conversation(session, who, conversation_id, lock=True)
    if seq > conversation.last_seq:
        raise ValidationFailed(errors=[{"field": "seq", "message": "there is no such message yet"}])
    if conversation.role_of(who.user_id) is SenderRole.CUSTOMER:
        conversation.customer_has_seen(seq)
    mark = session.get(ReadMark, (conversation_id, who.user_id))
    if mark is None:
        mark = ReadMark(conversation_id=conversation_id, user_id=who.user_id, seq=0)
        session.add(mark)
    if seq <= mark.seq:
        return mark, False
    mark.seq, mark.read_at = seq, clock.now()
    session.flush()
    return mark, True


def tell_of_missed_messages(session: Session) -> bool:
    """Emit `chat.message.missed` where it is due; whether there may be more."""
    due = (
        select(Conversation)
        .where(Conversation.missed_at <= clock.now())
        .order_by(Conversation.missed_at)
        .limit(MISSED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    found = session.scalars(due).all()
    for conversation in found:
        message = session.scalars(
            select(Message).where(
                Message.conversation_id == conversation.id, Message.seq == conversation.missed_seq
            )
        ).one()
        session.add(events.message_missed(conversation, message))
        conversation.missed_at = None
    return len(found) == MISSED_AT_ONCE


def record_user(session: Session, *, user_id: str, name: str, at: datetime) -> None:
    """Keep what an account is called; news older than what is known changes nothing."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        session.add(User(id=user_id, name=name, known_at=at))
    elif at > user.known_at:
        user.name, user.known_at = name, at
