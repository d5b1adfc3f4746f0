"""Broadcasts: written to their readers a few at a time, in the operator's pace and behind what events tell."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.errors import NotFound
from notification import rendering
from notification.errors import BroadcastEnded
from notification.models import (
    OPEN_STATES,
    UNENDED_STATES,
    Broadcast,
    BroadcastState,
    Category,
    Channel,
    Delivery,
    DeliveryState,
    Device,
    Language,
    Notification,
    Preference,
    Recipient,
)
from notification.queries import asked_of
from notification.use_cases.telling import sending_job

JOB = "broadcasts"
BATCH = 50
"""So many customers a transaction: short enough for events to come between."""
BACKLOG = 200
"""Messages of broadcasts that wait in a channel: an event's message waits behind no more of them."""
_SOON = timedelta(minutes=10)


def schedule_broadcast(
    session: Session,
    *,
    broadcast_id: str,
    author_id: str,
    category: Category,
    channels: Sequence[str],
    languages: Sequence[Language],
    user_ids: Sequence[str] | None,
    barred: bool | None,
    holding: Sequence[str],
    texts: dict[str, dict[str, str]],
    starts_at: datetime | None,
    per_minute: int,
) -> Broadcast:
    broadcast = Broadcast(
        id=broadcast_id,
        author_id=author_id,
        category=category,
        channels=list(channels),
        languages=[language.value for language in languages],
        user_ids=sorted(set(user_ids)) if user_ids is not None else None,
        barred=barred,
        holding=list(holding),
        texts=texts,
        starts_at=starts_at or clock.now(),
        per_minute=per_minute,
    )
    session.add(broadcast)
    wake(session, JOB)
    return broadcast


def cancel_broadcast(session: Session, broadcast_id: str) -> Broadcast:
    """Nobody else gets it; what waits to be sent is ended, of which no event tells. Safe to repeat. Raises NotFound,
    BroadcastEnded."""
    broadcast = session.get(Broadcast, broadcast_id, with_for_update=True)
    if broadcast is None:
        raise NotFound()
    if broadcast.state is BroadcastState.FINISHED:
        raise BroadcastEnded()
    broadcast.cancel()
    session.execute(
        update(Delivery)
        .where(
            Delivery.event_id == broadcast.id,
            Delivery.state.in_((DeliveryState.CREATED, DeliveryState.TEMPORARY_FAILURE)),
        )
        .values(state=DeliveryState.PERMANENT_FAILURE, updated_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    return broadcast


def continue_broadcasts(session: Session) -> bool:
    """Write the next few messages of the first broadcast that may go on; whether more may follow at once."""
    due = (
        select(Broadcast)
        .where(Broadcast.state.in_(UNENDED_STATES), Broadcast.starts_at <= clock.now())
        .order_by(Broadcast.starts_at, Broadcast.id)
        .with_for_update(skip_locked=True)
    )
    for broadcast in session.scalars(due):
        broadcast.begin()
        room = min(BATCH, broadcast.allowance(), _room(session, broadcast))
        if room > 0:
            _tell_next(session, broadcast, room)
            return True
    return False


def _room(session: Session, broadcast: Broadcast) -> int:
    """How many more the fullest of its channels takes. What waits for the end of quiet hours does not count."""
    waiting = (
        select(func.count())
        .where(
            Delivery.channel.in_([channel for channel in Channel if channel.value in broadcast.channels]),
            Delivery.state.in_(OPEN_STATES),
            Delivery.due_at <= clock.now() + _SOON,
            Delivery.event_type.like("broadcast.%"),
        )
        .group_by(Delivery.channel)
    )
    return BACKLOG - max(session.scalars(waiting), default=0)


def _tell_next(session: Session, broadcast: Broadcast, room: int) -> None:
    who = (
        select(Recipient, Preference)
        .outerjoin(Preference, Preference.user_id == Recipient.user_id)
        .where(*asked_of(broadcast))
        .order_by(Recipient.user_id)
        .limit(room)
    )
    if broadcast.user_ids is None:
        rows = session.execute(who.where(Recipient.user_id > broadcast.reached)).all()
        passed = [row.Recipient.user_id for row in rows]
    else:
        passed = [each for each in broadcast.user_ids if each > broadcast.reached][:room]
        rows = session.execute(who.where(Recipient.user_id.in_(passed))).all()
    readers = [
        (recipient, preference, language)
        for recipient, preference in rows
        if (language := _language(broadcast, recipient, preference)) is not None
    ]
    told = _write(session, broadcast, readers)
    if passed:
        broadcast.pass_by(len(passed), told, passed[-1])
    if len(passed) < room:
        broadcast.finish()


def _language(broadcast: Broadcast, recipient: Recipient, preference: Preference | None) -> Language | None:
    """In which one reads it; None for who does not get it."""
    chosen = preference.language if preference is not None else None
    language = chosen or recipient.language
    if language is None or recipient.deactivated_at is not None:
        return None
    return language if not broadcast.languages or language.value in broadcast.languages else None


def _write(
    session: Session,
    broadcast: Broadcast,
    readers: Sequence[tuple[Recipient, Preference | None, Language]],
) -> int:
    """Rows of messages; how many readers have at least one."""
    devices: dict[str, list[Device]] = {}
    if Channel.PUSH in broadcast.channels:
        mine = select(Device).where(Device.user_id.in_([recipient.user_id for recipient, *_ in readers]))
        for device in session.scalars(mine):
            devices.setdefault(device.user_id, []).append(device)
    notifications: list[dict[str, Any]] = []
    deliveries: list[dict[str, Any]] = []
    told = 0
    for recipient, preference, language in readers:
        before = len(notifications) + len(deliveries)
        allowed = [
            channel
            for channel in broadcast.channels
            if preference is None or preference.allows(broadcast.category, channel)
        ]
        if rendering.IN_APP in allowed:
            notifications.append(_notification(broadcast, recipient, language))
        deliveries += [
            _delivery(broadcast, recipient, language, *way)
            for way in _ways(recipient, allowed, devices.get(recipient.user_id, []))
        ]
        told += len(notifications) + len(deliveries) > before
    if notifications:
        session.execute(insert(Notification), notifications)
    if deliveries:
        session.execute(insert(Delivery), deliveries)
    for channel in {row["channel"] for row in deliveries}:
        wake(session, sending_job(channel))
    return told


def _ways(
    recipient: Recipient, allowed: Sequence[str], devices: Sequence[Device]
) -> list[tuple[Channel, str, str]]:
    """(channel, target, address) of each message that leaves the house."""
    found: list[tuple[Channel, str, str]] = []
    if Channel.EMAIL in allowed and recipient.email is not None:
        found.append((Channel.EMAIL, "", recipient.email))
    if Channel.SMS in allowed and recipient.phone is not None:
        found.append((Channel.SMS, "", recipient.phone))
    if Channel.PUSH in allowed:
        found += [(Channel.PUSH, device.id, device.endpoint[:254]) for device in devices]
    return found


def _notification(broadcast: Broadcast, recipient: Recipient, language: Language) -> dict[str, Any]:
    words = rendering.render(
        broadcast.event_type, language, rendering.IN_APP, broadcast.texts[language.value]
    )
    return {
        "id": ids.new_id(),
        "user_id": recipient.user_id,
        "event_id": broadcast.id,
        "event_type": broadcast.event_type,
        "language": language,
        "title": words.title,
        "body": words.body,
        "data": {"broadcast_id": broadcast.id},
    }


def _delivery(
    broadcast: Broadcast,
    recipient: Recipient,
    language: Language,
    channel: Channel,
    target: str,
    address: str,
) -> dict[str, Any]:
    return {
        "id": ids.new_id(),
        "user_id": recipient.user_id,
        "event_id": broadcast.id,
        "event_type": broadcast.event_type,
        "channel": channel,
        "target": target,
        "address": address,
        "language": language,
        "data": {**broadcast.texts[language.value], "name": recipient.name},
        "correlation_id": broadcast.id,
    }
