"""The bot's turn: what it is asked, and what becomes of its answer. The answering itself lies between the two."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chat.bot.responder import Answer, Offer, PayOffer, Question
from chat.config import Settings
from chat.models import BOT_ID, Conversation, Message, Note, SenderRole, State
from chat.queries.accounts import facts_of
from chat.queries.conversations import language_of
from chat.use_cases import care
from common import clock

AT_ONCE = 20
OFFERED_FOR = timedelta(hours=1)
"""Shorter than an Idempotency-Key is kept: within it, confirming twice orders and pays once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that waits for the bot; `seq` is the customer's last message in it."""

    conversation_id: str
    seq: int
    question: Question


def turns_due(session: Session, settings: Settings) -> list[Turn]:
    """Conversations in which the customer has said something that the bot has not answered."""
    due = select(Conversation).where(Conversation.bot_due_seq.is_not(None)).order_by(Conversation.id)
    return [_turn(session, settings, found) for found in session.scalars(due.limit(AT_ONCE)).all()]


def _turn(session: Session, settings: Settings, conversation: Conversation) -> Turn:
    answered = session.scalar(
        select(func.max(Message.seq)).where(
            Message.conversation_id == conversation.id, Message.sender_role == SenderRole.BOT
        )
    )
    said = session.scalars(
        select(Message.body)
        .where(Message.conversation_id == conversation.id, Message.seq > (answered or 0))
        .where(Message.sender_role == SenderRole.CUSTOMER)
        .order_by(Message.seq.desc())
        .limit(5)
    ).all()
    assert conversation.bot_due_seq is not None
    return Turn(
        conversation.id,
        conversation.bot_due_seq,
        Question(
            text="\n".join(reversed(said)),
            language=language_of(session, conversation),
            facts=facts_of(session, conversation.customer_id),
            hours=settings.hours.text,
            pay_link=settings.pay_link,
            pending=conversation.bot_pending,
        ),
    )


def settle_turn(
    session: Session, settings: Settings, turn: Turn, answer: Answer
) -> tuple[Conversation, list[Message]] | None:
    """Store the answer. None when it has been overtaken: an agent took over, or the customer said more, which is
    another turn. Safe to repeat."""
    conversation = session.get_one(Conversation, turn.conversation_id, with_for_update=True)
    if conversation.state is not State.BOT or conversation.bot_due_seq != turn.seq:
        return None
    message = care.announce(
        session,
        conversation,
        answer.text,
        sender_id=BOT_ID,
        role=SenderRole.BOT,
        client_message_id=f"answer-{turn.seq}",
        offer=_document(answer.offer) if answer.offer else None,
    )
    conversation.care_spoke()
    conversation.bot_due_seq, conversation.bot_pending = None, answer.pending
    said = [message]
    if answer.hand_over:
        session.add(Note(conversation_id=conversation.id, author_id=BOT_ID, body=answer.summary))
        closed_now = care.hand_over(session, settings, conversation)
        said += [closed_now] if closed_now else []
    return conversation, said


def _document(offer: Offer) -> dict[str, Any]:
    """As the message keeps it, good for OFFERED_FOR."""
    fields = asdict(offer) | {"expires_at": clock.rfc3339(clock.now() + OFFERED_FOR)}
    if isinstance(offer, PayOffer):
        fields["amount"] = offer.amount.model_dump()
    return fields
