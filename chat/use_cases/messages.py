"""Sending messages: several at once where many arrive, because a transaction costs more than a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from chat.config import Settings
from chat.models import Conversation, Message, SenderRole, State, User
from chat.queries.conversations import must_see
from chat.use_cases import care
from common import ids
from common.db import wake
from common.errors import AppError
from common.identity import Identity


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to say."""

    who: Identity
    conversation_id: str
    client_message_id: str
    body: str


class Sent(NamedTuple):
    """What became of a message; `taken`: it gave the waiting conversation to its agent."""

    message: Message
    conversation: Conversation
    stored_now: bool
    taken: bool = False


def send_message(session: Session, settings: Settings, wish: Wish) -> Sent:
    """Store a message under the conversation's next number.

    Safe to repeat: the same `client_message_id` of the same sender is the same message, whatever the body and even
    after the conversation was closed. The first answer of an agent takes a waiting conversation.
    Raises NotFound, ConversationClosed, AgentAtCapacity.
    """
    (outcome,) = send_messages(session, settings, [wish])
    if isinstance(outcome, AppError):
        raise outcome
    return outcome


def send_messages(session: Session, settings: Settings, wishes: Sequence[Wish]) -> list[Sent | AppError]:
    """As `send_message` for each, in their order; a refusal is that message's own.

    Several only of customers: an agent's may lock the agent's row, of which a transaction takes one. The
    conversations are locked in the order of their ids, so that nobody waits in a circle.
    """
    conversations, known, senders = (
        _locked(session, wishes),
        _known(session, wishes),
        _senders(session, wishes),
    )
    outcomes: list[Sent | AppError] = []
    for wish in wishes:
        key = (wish.conversation_id, wish.who.user_id, wish.client_message_id)
        try:
            conversation = must_see(conversations.get(wish.conversation_id), wish.who)
            if key in known:
                outcomes.append(Sent(known[key], conversation, stored_now=False))
                continue
            sent = _store(session, settings, conversation, wish)
        except AppError as refusal:
            outcomes.append(refusal)
            continue
        set_committed_value(sent.message, "sender", senders.get(wish.who.user_id))
        known[key] = sent.message
        outcomes.append(sent)
    session.flush()
    return outcomes


def _store(session: Session, settings: Settings, conversation: Conversation, wish: Wish) -> Sent:
    conversation.must_be_open()
    role = conversation.role_of(wish.who.user_id)
    taken = role is SenderRole.AGENT and conversation.state is not State.ASSIGNED
    if taken:
        care.give(session, settings, conversation, wish.who.user_id)
    message = Message(
        id=ids.new_id(),
        conversation_id=wish.conversation_id,
        seq=conversation.next_seq(),
        client_message_id=wish.client_message_id,
        sender_id=wish.who.user_id,
        sender_role=role,
        body=wish.body,
        created_at=conversation.updated_at,
    )
    session.add(message)
    if role is SenderRole.AGENT:
        conversation.care_spoke()
        conversation.customer_owes_a_look(message.seq, settings.missed_after)
    else:
        conversation.customer_spoke(message.seq)
        if conversation.bot_due_seq is not None:
            wake(session, "bot")
    return Sent(message, conversation, stored_now=True, taken=taken)


_LOCKED = (
    select(Conversation)
    .where(Conversation.id.in_(bindparam("conversations", expanding=True)))
    .order_by(Conversation.id)
    .with_for_update()
)
_KNOWN = select(Message).where(
    Message.conversation_id.in_(bindparam("conversations", expanding=True)),
    Message.sender_id.in_(bindparam("senders", expanding=True)),
    Message.client_message_id.in_(bindparam("client_message_ids", expanding=True)),
)
_SENDERS = select(User).where(User.id.in_(bindparam("senders", expanding=True)))
"""All three built once: they run for every message."""


def _locked(session: Session, wishes: Sequence[Wish]) -> dict[str, Conversation]:
    ids_wanted = list({wish.conversation_id for wish in wishes})
    return {found.id: found for found in session.scalars(_LOCKED, {"conversations": ids_wanted})}


def _known(session: Session, wishes: Sequence[Wish]) -> dict[tuple[str, str, str], Message]:
    """Those that were sent before, by conversation, sender and the id that the client gave."""
    wanted = {
        "conversations": list({wish.conversation_id for wish in wishes}),
        "senders": list({wish.who.user_id for wish in wishes}),
        "client_message_ids": list({wish.client_message_id for wish in wishes}),
    }
    found = session.scalars(_KNOWN, wanted)
    return {(each.conversation_id, each.sender_id, each.client_message_id): each for each in found}


def _senders(session: Session, wishes: Sequence[Wish]) -> dict[str, User]:
    wanted = {"senders": list({wish.who.user_id for wish in wishes})}
    return {user.id: user for user in session.scalars(_SENDERS, wanted)}
