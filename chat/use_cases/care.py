"""Who looks after whom: the queue, agents and their capacity, transfers, notes, canned responses.

Locks are taken conversation first, then agent, and one of each: so nobody waits in a circle.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chat import texts
from chat.config import Settings
from chat.errors import AgentAtCapacity, AgentUnavailable, ShortcutTaken
from chat.models import (
    SYSTEM_ID,
    Agent,
    CannedResponse,
    Conversation,
    Message,
    Note,
    SenderRole,
    State,
)
from chat.queries.care import free_agents, load_of
from chat.queries.conversations import get_conversation, language_of
from common import clock, ids
from common.db import wake
from common.errors import NotFound
from common.identity import Identity

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Returned:
    """A conversation that went back to the queue because its agent kept silent."""

    conversation: Conversation
    message: Message
    agent: Agent


def announce(
    session: Session,
    conversation: Conversation,
    body: str,
    *,
    sender_id: str = SYSTEM_ID,
    role: SenderRole = SenderRole.SYSTEM,
    client_message_id: str | None = None,
    offer: dict[str, Any] | None = None,
) -> Message:
    """A message of the house itself; the caller holds the conversation's lock."""
    message = Message(
        conversation_id=conversation.id,
        seq=conversation.next_seq(),
        client_message_id=client_message_id or ids.new_id(),
        sender_id=sender_id,
        sender_role=role,
        body=body,
        offer=offer,
    )
    session.add(message)
    session.flush()
    return message


def hand_over(session: Session, settings: Settings, conversation: Conversation) -> Message | None:
    """Let it wait for a person; outside business hours the customer is told when people are back."""
    conversation.hand_over()
    wake(session, "dispatch")
    hours, now = settings.hours, clock.now()
    if hours.is_open(now):
        return None
    opens = hours.opens_at(now)
    when = opens.strftime("%Y-%m-%d %H:%M") if opens else hours.text
    return announce(
        session,
        conversation,
        texts.say("out_of_hours", language_of(session, conversation), hours=hours.text, when=when),
    )


def give(session: Session, settings: Settings, conversation: Conversation, agent_id: str) -> Agent:
    """Assign a conversation whose lock the caller holds. Raises ConversationClosed, ConversationTaken,
    AgentAtCapacity."""
    agent = _lock_agent(session, settings, agent_id)
    if load_of(session, agent_id) >= agent.capacity:
        raise AgentAtCapacity()
    conversation.assign(agent_id)
    agent.given_at = agent.seen_at = clock.now()
    session.flush()
    wake(session, "dispatch")  # others' positions in the queue change
    return agent


def accept_conversation(
    session: Session, who: Identity, settings: Settings, *, conversation_id: str
) -> tuple[Conversation, bool]:
    """Take a waiting conversation: (conversation, taken now). Safe to repeat.

    Raises NotFound, ConversationClosed, ConversationTaken, AgentAtCapacity.
    """
    conversation = get_conversation(session, who, conversation_id, lock=True)
    if conversation.state is State.ASSIGNED and conversation.agent_id == who.user_id:
        return conversation, False
    give(session, settings, conversation, who.user_id)
    return conversation, True


def transfer_conversation(
    session: Session,
    who: Identity,
    settings: Settings,
    *,
    conversation_id: str,
    agent_id: str | None,
    team: str | None,
    note: str | None,
) -> Conversation:
    """Give an assigned conversation to another agent, or back to the queue for a team.

    Raises NotFound, NotWaiting (nobody has it), ConversationClosed, AgentUnavailable, AgentAtCapacity.
    """
    conversation = get_conversation(session, who, conversation_id, lock=True)
    conversation.must_be_open()
    if note is not None:
        session.add(Note(conversation_id=conversation_id, author_id=who.user_id, body=note))
    if agent_id is not None and agent_id == conversation.agent_id:
        return conversation
    conversation.release(team)
    if agent_id is not None:
        known = session.get(Agent, agent_id)
        if known is None or not known.available:
            raise AgentUnavailable()
        give(session, settings, conversation, agent_id)
    wake(session, "dispatch")
    return conversation


def add_note(session: Session, who: Identity, *, conversation_id: str, body: str) -> Note:
    """A private note of customer care. Raises NotFound."""
    get_conversation(session, who, conversation_id)
    note = Note(conversation_id=conversation_id, author_id=who.user_id, body=body)
    session.add(note)
    session.flush()
    return note


def set_status(
    session: Session,
    settings: Settings,
    *,
    agent_id: str,
    available: bool,
    capacity: int | None,
    team: str | None,
) -> Agent:
    """An agent begins or ends taking conversations; what they have they keep."""
    agent = _lock_agent(session, settings, agent_id)
    agent.available, agent.seen_at = available, clock.now()
    agent.capacity = agent.capacity if capacity is None else capacity
    agent.team = team
    wake(session, "dispatch")
    return agent


def dispatch_one(session: Session, settings: Settings) -> tuple[Conversation, Agent] | None:
    """Give the oldest waiting conversation that somebody is free for; None when there is no such pair."""
    seen_after = clock.now() - timedelta(seconds=settings.agent_gone_after_s)
    free = free_agents(session, seen_after)
    if not free:
        return None
    teams = {agent.team for agent in free}
    oldest = (
        select(Conversation.id, Conversation.team)
        .where(Conversation.state == State.QUEUED)
        .where(Conversation.team.is_(None) | Conversation.team.in_([team for team in teams if team]))
        .order_by(Conversation.queued_at, Conversation.id)
        .limit(1)
    )
    row = session.execute(oldest).first()
    if row is None:
        return None
    conversation = session.get_one(Conversation, row.id, with_for_update=True)
    candidate = next(agent for agent in free if row.team in (None, agent.team))
    agent = session.get_one(Agent, candidate.id, with_for_update=True, populate_existing=True)
    still = agent.available and agent.seen_at >= seen_after and conversation.state is State.QUEUED
    if not still or load_of(session, agent.id) >= agent.capacity:
        return None  # overtaken; whoever did it has woken the dispatcher again
    conversation.assign(agent.id)
    agent.given_at = clock.now()
    session.flush()
    return conversation, agent


def keep_agents_seen(session: Session, agent_ids: list[str]) -> None:
    """Note that these agents are connected."""
    session.execute(update(Agent).where(Agent.id.in_(agent_ids)).values(seen_at=clock.now()))


def retire_gone_agents(session: Session, settings: Settings) -> list[Agent]:
    """Agents who have not been seen for a while take no more conversations."""
    gone_before = clock.now() - timedelta(seconds=settings.agent_gone_after_s)
    due = select(Agent).where(Agent.available.is_(True), Agent.seen_at < gone_before).order_by(Agent.id)
    found = session.scalars(due.limit(AT_ONCE).with_for_update(skip_locked=True)).all()
    for agent in found:
        agent.available = False
    return list(found)


def return_one_unanswered(session: Session, settings: Settings) -> Returned | None:
    """A customer whom the agent left without an answer goes back to the place in the queue, and the agent takes no
    more. One at a time (see the locks above); None when nobody is left waiting."""
    waiting_before = clock.now() - timedelta(seconds=settings.agent_silent_after_s)
    due = select(Conversation).where(Conversation.waiting_since < waiting_before)
    conversation = session.scalars(
        due.order_by(Conversation.waiting_since).limit(1).with_for_update(skip_locked=True)
    ).first()
    if conversation is None or conversation.agent_id is None:
        return None
    agent = session.get_one(Agent, conversation.agent_id, with_for_update=True)
    agent.available = False
    conversation.release(conversation.team)
    text = texts.say("agent_silent", language_of(session, conversation))
    message = announce(session, conversation, text)
    wake(session, "dispatch")
    return Returned(conversation, message, agent)


def save_canned_response(
    session: Session, who: Identity, *, response_id: str, shortcut: str, language: str, body: str, new: bool
) -> CannedResponse:
    """Make or change one. Raises NotFound, ShortcutTaken."""
    namesake = session.scalar(
        select(CannedResponse.id).where(CannedResponse.shortcut == shortcut, CannedResponse.id != response_id)
    )
    if namesake is not None:
        raise ShortcutTaken()
    found = session.get(CannedResponse, response_id, with_for_update=True)
    if found is None:
        if not new:
            raise NotFound()
        found = CannedResponse(id=response_id)
        session.add(found)
    found.shortcut, found.language, found.body = shortcut, language, body
    found.updated_by, found.updated_at = who.user_id, clock.now()
    session.flush()
    return found


def delete_canned_response(session: Session, *, response_id: str) -> None:
    """Raises NotFound."""
    found = session.get(CannedResponse, response_id)
    if found is None:
        raise NotFound()
    session.delete(found)


def _lock_agent(session: Session, settings: Settings, agent_id: str) -> Agent:
    """The agent's row, locked; made with the usual capacity where there is none yet."""
    agent = session.get(Agent, agent_id, with_for_update=True, populate_existing=True)
    if agent is not None:
        return agent
    try:
        with session.begin_nested():
            session.add(Agent(id=agent_id, available=False, capacity=settings.agent_capacity))
    except IntegrityError:  # another transaction made it meanwhile
        pass
    return session.get_one(Agent, agent_id, with_for_update=True, populate_existing=True)
