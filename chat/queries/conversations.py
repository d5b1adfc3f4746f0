"""Conversations and their messages, and who may see them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from chat.models import Conversation, Message, Note, ReadMark, State, User
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from common.identity import Identity

CARE_ROLES = frozenset({"agent", "admin"})


def get_conversation(
    session: Session, who: Identity, conversation_id: str, *, lock: bool = False
) -> Conversation:
    """A conversation that the caller may see: the own one, or for customer care any. Raises NotFound."""
    return must_see(session.get(Conversation, conversation_id, with_for_update=lock or None), who)


def must_see(found: Conversation | None, who: Identity) -> Conversation:
    """Raises NotFound where there is none, or none that the caller may see."""
    if found is None or not (found.customer_id == who.user_id or who.roles & CARE_ROLES):
        raise NotFound()
    return found


def list_conversations(
    session: Session, who: Identity, query: PageQuery, *, state: State | None, agent_id: str | None
) -> Page[Conversation]:
    """The caller's conversations, for customer care all, newest first."""
    statement = select(Conversation).options(
        joinedload(Conversation.customer), joinedload(Conversation.agent)
    )
    if not who.roles & CARE_ROLES:
        statement = statement.where(Conversation.customer_id == who.user_id)
    if state is not None:
        statement = statement.where(Conversation.state == state)
    if agent_id is not None:
        statement = statement.where(Conversation.agent_id == agent_id)
    return fetch_page(session, statement, Conversation.id, query)


def messages_after(
    session: Session, conversation_id: str, after_seq: int, limit: int
) -> tuple[Sequence[Message], bool]:
    """Up to `limit` messages behind `after_seq` in their order, and whether there are more."""
    statement = (
        select(Message)
        .where(Message.conversation_id == conversation_id, Message.seq > after_seq)
        .order_by(Message.seq)
        .limit(limit + 1)
        .options(joinedload(Message.sender))
    )
    found = session.scalars(statement).all()
    return found[:limit], len(found) > limit


def latest_messages(session: Session, conversation_id: str, bytes_at_most: int) -> Sequence[Message]:
    """As many of the last messages as fit, in their order."""
    newest_first = session.scalars(
        select(Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.seq.desc())
        .options(joinedload(Message.sender))
        .execution_options(yield_per=100)
    )
    found: list[Message] = []
    for message in newest_first:
        bytes_at_most -= len(message.body.encode())
        if bytes_at_most < 0:
            break
        found.append(message)
    newest_first.close()
    return found[::-1]


def language_of(session: Session, conversation: Conversation) -> str:
    """The language in which the house itself speaks to the customer."""
    user = session.get(User, conversation.customer_id)
    return user.language if user else "en"


def notes_of(session: Session, conversation_id: str, query: PageQuery) -> Page[Note]:
    statement = select(Note).where(Note.conversation_id == conversation_id).options(joinedload(Note.author))
    return fetch_page(session, statement, Note.id, query)


def read_marks(session: Session, conversation_id: str) -> Sequence[ReadMark]:
    return session.scalars(
        select(ReadMark).where(ReadMark.conversation_id == conversation_id).order_by(ReadMark.user_id)
    ).all()


def conversations_by_id(session: Session, conversation_ids: Iterable[str]) -> Sequence[Conversation]:
    """Some conversations for the server's own use: asks nobody's permission."""
    statement = select(Conversation).where(Conversation.id.in_(list(conversation_ids)))
    return session.scalars(
        statement.options(joinedload(Conversation.customer), joinedload(Conversation.agent))
    ).all()
