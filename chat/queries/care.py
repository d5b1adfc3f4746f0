"""The queue, the agents, what they keep ready."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from chat.models import Agent, CannedResponse, Conversation, State
from common import clock
from common.db import Page, PageQuery, fetch_page

LONGEST_QUEUE_TOLD = 200
USUAL_LENGTH_S = 300
"""What a conversation is taken to last until some have been closed."""
RECENT = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands in the queue; `estimated_wait_s` None: nobody takes conversations now."""

    conversation_id: str
    position: int
    estimated_wait_s: int | None


def load_of(session: Session, agent_id: str) -> int:
    """How many conversations an agent has."""
    return session.scalars(
        select(func.count())
        .select_from(Conversation)
        .where(Conversation.agent_id == agent_id, Conversation.state == State.ASSIGNED)
    ).one()


def free_agents(session: Session, seen_after: datetime) -> Sequence[Agent]:
    """Agents with room for another conversation, the one whose turn is longest ago first."""
    load = (
        select(func.count())
        .select_from(Conversation)
        .where(Conversation.agent_id == Agent.id, Conversation.state == State.ASSIGNED)
        .scalar_subquery()
    )
    return session.scalars(
        select(Agent)
        .where(Agent.available.is_(True), Agent.seen_at >= seen_after, load < Agent.capacity)
        .order_by(Agent.given_at, Agent.id)
    ).all()


def agents_with_load(session: Session) -> list[tuple[Agent, int]]:
    """Every agent who ever was at work, with the number of conversations, those available first."""
    agents = session.scalars(
        select(Agent).options(joinedload(Agent.user)).order_by(Agent.available.desc(), Agent.id)
    ).all()
    loads = session.execute(
        select(Conversation.agent_id, func.count())
        .where(Conversation.state == State.ASSIGNED)
        .group_by(Conversation.agent_id)
    )
    by_agent = {row[0]: row[1] for row in loads}
    return [(agent, by_agent.get(agent.id, 0)) for agent in agents]


def queue(session: Session, limit: int = LONGEST_QUEUE_TOLD) -> Sequence[Conversation]:
    """Who waits for a person, the oldest first."""
    return session.scalars(
        select(Conversation)
        .where(Conversation.state == State.QUEUED)
        .order_by(Conversation.queued_at, Conversation.id)
        .limit(limit)
        .options(joinedload(Conversation.customer), joinedload(Conversation.agent))
    ).all()


def places(session: Session) -> list[Place]:
    """Position and estimated wait of everybody in the queue (of the first LONGEST_QUEUE_TOLD)."""
    each = _seconds_per_place(session)
    ids = session.scalars(
        select(Conversation.id)
        .where(Conversation.state == State.QUEUED)
        .order_by(Conversation.queued_at, Conversation.id)
        .limit(LONGEST_QUEUE_TOLD)
    )
    return [Place(found, n, _wait(each, n)) for n, found in enumerate(ids, start=1)]


def place_of(session: Session, conversation: Conversation) -> Place | None:
    """Where one conversation stands; None when it does not wait."""
    if conversation.state is not State.QUEUED:
        return None
    before = session.scalars(
        select(func.count())
        .select_from(Conversation)
        .where(
            Conversation.state == State.QUEUED,
            (Conversation.queued_at < conversation.queued_at)
            | ((Conversation.queued_at == conversation.queued_at) & (Conversation.id < conversation.id)),
        )
    ).one()
    each = _seconds_per_place(session)
    return Place(conversation.id, before + 1, _wait(each, before + 1))


def _wait(each: float | None, position: int) -> int | None:
    return None if each is None else round(each * position)


def _seconds_per_place(session: Session) -> float | None:
    """How often a place in the queue moves up: what conversations took lately, shared by those who work now."""
    capacity = session.scalars(select(func.sum(Agent.capacity)).where(Agent.available.is_(True))).one()
    if not capacity:
        return None
    lately = session.execute(
        select(Conversation.assigned_at, Conversation.closed_at)
        .where(
            Conversation.state == State.CLOSED,
            Conversation.assigned_at.is_not(None),
            Conversation.updated_at > clock.now() - timedelta(days=7),
        )
        .order_by(Conversation.id.desc())
        .limit(RECENT)
    ).all()
    lengths = [(closed - assigned).total_seconds() for assigned, closed in lately if assigned and closed]
    return max(1.0, (sum(lengths) / len(lengths) if lengths else USUAL_LENGTH_S) / capacity)


def canned_responses(session: Session, query: PageQuery) -> Page[CannedResponse]:
    return fetch_page(session, select(CannedResponse), CannedResponse.id, query)
