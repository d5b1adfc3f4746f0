"""Conversations, messages, read marks."""

import math
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from chat import events, texts
from chat.config import Settings
from chat.models import Conversation, Message, ReadMark, SenderRole, State, User
from chat.queries.conversations import get_conversation, language_of, latest_messages
from chat.use_cases import care
from common import clock
from common.db import wake
from common.errors import NotFound, TooManyRequests, ValidationFailed
from common.identity import Identity

AT_ONCE = 100
TRANSCRIPT_EVERY = timedelta(minutes=1)
TRANSCRIPT_BYTES = 256 * 1024


def open_conversation(
    session: Session, settings: Settings, *, conversation_id: str, customer_id: str, subject: str | None
) -> Conversation:
    """A new conversation: with the bot, or waiting for a person where there is none."""
    opened = Conversation(
        id=conversation_id,
        customer_id=customer_id,
        subject=subject,
        state=State.BOT,
        last_seq=0,
        missed_seq=0,
        idle_warned=False,
    )
    session.add(opened)
    session.flush()
    if settings.bot == "off":
        care.hand_over(session, settings, opened)
    return opened


def close_conversation(session: Session, who: Identity, *, conversation_id: str) -> tuple[Conversation, bool]:
    """Close it; safe to repeat: (conversation, closed now). Raises NotFound."""
    conversation = get_conversation(session, who, conversation_id, lock=True)
    closed_now = conversation.close()
    if closed_now:
        wake(session, "dispatch")
    return conversation, closed_now


def rate_conversation(
    session: Session, who: Identity, *, conversation_id: str, score: int, comment: str | None
) -> Conversation:
    """The customer's verdict. Raises NotFound (for everybody else too), NotClosedYet, AlreadyRated."""
    conversation = get_conversation(session, who, conversation_id, lock=True)
    if conversation.customer_id != who.user_id:
        raise NotFound()
    conversation.rate(score, comment)
    return conversation


def request_transcript(session: Session, who: Identity, *, conversation_id: str) -> Conversation:
    """Have what was said e-mailed to the customer, whoever of the two asks; of a very long one the end.

    Raises NotFound, TooManyRequests (one a minute).
    """
    conversation = get_conversation(session, who, conversation_id, lock=True)
    now = clock.now()
    if conversation.transcript_at is not None and conversation.transcript_at > now - TRANSCRIPT_EVERY:
        wait = conversation.transcript_at + TRANSCRIPT_EVERY - now
        raise TooManyRequests("A copy was sent a moment ago", retry_after=math.ceil(wait.total_seconds()))
    conversation.transcript_at = now
    messages = latest_messages(session, conversation_id, TRANSCRIPT_BYTES)
    session.add(events.transcript_requested(conversation, messages, conversation.last_seq - len(messages)))
    return conversation


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
        .limit(AT_ONCE)
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
    return len(found) == AT_ONCE


def look_after_idle(session: Session, settings: Settings) -> list[tuple[Conversation, Message]]:
    """Warn, and later close, where it has been the customer's turn for too long: each with what was said."""
    now = clock.now()
    warn_before = now - timedelta(seconds=settings.idle_warn_after_s)
    close_before = warn_before - timedelta(seconds=settings.idle_close_after_s)
    due = (
        select(Conversation)
        .where(
            Conversation.idle_since <= warn_before,
            or_(Conversation.idle_warned.is_(False), Conversation.idle_since <= close_before),
        )
        .order_by(Conversation.idle_since)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return [_warn_or_close(session, settings, found, warn_before) for found in session.scalars(due).all()]


def _warn_or_close(
    session: Session, settings: Settings, conversation: Conversation, warn_before: datetime
) -> tuple[Conversation, Message]:
    language = language_of(session, conversation)
    if conversation.idle_warned:
        message = care.announce(session, conversation, texts.say("idle_closed", language))
        conversation.close()
        wake(session, "dispatch")
        return conversation, message
    minutes = max(1, settings.idle_close_after_s // 60)
    message = care.announce(session, conversation, texts.say("idle_warning", language, minutes=minutes))
    conversation.idle_warned = True
    conversation.idle_since = warn_before  # however late the warning came, all of the time after it is left
    return conversation, message


def record_user(
    session: Session, *, user_id: str, name: str, language: str | None = None, at: datetime
) -> None:
    """Keep what an account is called and speaks; news older than what is known changes nothing."""
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        session.add(User(id=user_id, name=name, language=language or "en", known_at=at))
    elif at > user.known_at:
        user.name, user.language, user.known_at = name, language or user.language, at
