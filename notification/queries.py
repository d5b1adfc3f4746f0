"""Reads of notification."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session

from common import clock
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from notification import rendering
from notification.models import (
    AttemptOutcome,
    Broadcast,
    Channel,
    Delivery,
    DeliveryAttempt,
    Device,
    HeldService,
    Language,
    Notification,
    Preference,
    Recipient,
    TextVersion,
    Webhook,
)
from notification.rendering import Words
from notification.schemas.admin import AdminDeliveriesQuery

_INBOX = select(
    Notification.id,
    Notification.event_type,
    Notification.title,
    Notification.body,
    Notification.language,
    Notification.read_at,
    Notification.created_at,
    Notification.data,
).where(Notification.deleted_at.is_(None))


def list_notifications(
    session: Session, user_id: str, query: PageQuery, *, unread: bool
) -> Page[Mapping[str, Any]]:
    """A user's inbox, newest first, as it is answered (without the ORM: this is the hottest read)."""
    inbox = _INBOX.where(Notification.user_id == user_id)
    if unread:
        inbox = inbox.where(Notification.read_at.is_(None))
    page = fetch_page(session, inbox, Notification.id, query, scalars=False)
    return Page([_item(row) for row in page.items], page.next_cursor)


ASKED_BY_NAME = 300
"""Up to so many users it is cheaper to look at each than at all that is new, of which a broadcast makes thousands."""


def notified_since(session: Session, floor: str, users: Sequence[str]) -> list[tuple[str, str]]:
    """(id, user id) of notifications made since an id: those of these users, and of others when these are many."""
    rows = select(Notification.id, Notification.user_id).where(
        Notification.id > floor, Notification.deleted_at.is_(None)
    )
    if len(users) <= ASKED_BY_NAME:
        rows = rows.where(Notification.user_id.in_(users))
    return [(row.id, row.user_id) for row in session.execute(rows)]


def missed_by(session: Session, user_id: str, since: str) -> list[str]:
    """Ids of a user's notifications after one, oldest first; at most 100."""
    missed = select(Notification.id).where(
        Notification.user_id == user_id, Notification.id > since, Notification.deleted_at.is_(None)
    )
    return list(session.scalars(missed.order_by(Notification.id).limit(100)))


def notifications_by_id(session: Session, wanted: list[str]) -> list[dict[str, Any]]:
    """As the inbox shows them, oldest first, without those that were deleted."""
    if not wanted:
        return []
    rows = session.execute(_INBOX.where(Notification.id.in_(wanted)).order_by(Notification.id))
    return [_item(row) for row in rows]


def _item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "event_type": row.event_type,
        "title": row.title,
        "body": row.body,
        "language": row.language.value,
        "read_at": clock.rfc3339(row.read_at) if row.read_at else None,
        "created_at": clock.rfc3339(row.created_at),
        "data": row.data,
    }


def count_unread(session: Session, user_id: str) -> int:
    unread = (
        select(func.count())
        .select_from(Notification)
        .where(
            Notification.user_id == user_id,
            Notification.read_at.is_(None),
            Notification.deleted_at.is_(None),
        )
    )
    return session.scalar(unread) or 0


def preference_of(session: Session, user_id: str) -> tuple[Preference, Language]:
    """What a user has chosen, and the language of the profile."""
    preference = session.get(Preference, user_id) or Preference(user_id=user_id, switched_off=[])
    profile = session.scalar(select(Recipient.language).where(Recipient.user_id == user_id))
    return preference, profile or Language.ENGLISH


def list_devices(session: Session, user_id: str, query: PageQuery) -> Page[Device]:
    return fetch_page(session, select(Device).where(Device.user_id == user_id), Device.id, query)


def list_webhooks(session: Session, user_id: str, query: PageQuery) -> Page[Webhook]:
    return fetch_page(session, select(Webhook).where(Webhook.user_id == user_id), Webhook.id, query)


def list_webhook_deliveries(session: Session, webhook_id: str, query: PageQuery) -> Page[Delivery]:
    return fetch_page(session, select(Delivery).where(Delivery.target == webhook_id), Delivery.id, query)


def list_broadcasts(session: Session, query: PageQuery) -> Page[Broadcast]:
    return fetch_page(session, select(Broadcast), Broadcast.id, query)


def asked_of(broadcast: Broadcast) -> list[ColumnElement[bool]]:
    """What a broadcast's segment asks of a recipient, but for languages (which readers choose) and names."""
    asked: list[ColumnElement[bool]] = []
    if broadcast.barred is not None:
        asked.append(Recipient.barred.is_(broadcast.barred))
    if broadcast.holding:
        held = select(HeldService.service_id).where(
            HeldService.user_id == Recipient.user_id,
            HeldService.offering_code.in_(broadcast.holding),
            HeldService.active,
        )
        asked.append(held.exists())
    return asked


def get_broadcast(session: Session, broadcast_id: str) -> tuple[Broadcast, int, dict[str, dict[str, int]]]:
    """With the number of customers that it goes through, and of its messages by channel and state. Raises NotFound."""
    broadcast = session.get(Broadcast, broadcast_id)
    if broadcast is None:
        raise NotFound()
    if broadcast.user_ids is not None:
        total = len(broadcast.user_ids)
    else:
        everybody = select(func.count()).select_from(Recipient)
        total = session.scalar(everybody.where(*asked_of(broadcast))) or 0
    counted = (
        select(Delivery.channel, Delivery.state, func.count())
        .where(Delivery.event_id == broadcast_id)
        .group_by(Delivery.channel, Delivery.state)
    )
    deliveries: dict[str, dict[str, int]] = {}
    for channel, state, count in session.execute(counted):
        deliveries.setdefault(channel.value, {})[state.value] = count
    return broadcast, total, deliveries


def list_deliveries(session: Session, query: AdminDeliveriesQuery) -> Page[Delivery]:
    """For staff, newest first."""
    found = select(Delivery)
    for column, wanted in (
        (Delivery.state, query.state),
        (Delivery.channel, query.channel),
        (Delivery.user_id, query.user_id),
    ):
        if wanted is not None:
            found = found.where(column == wanted)
    return fetch_page(session, found, Delivery.id, query)


def get_delivery(session: Session, delivery_id: str) -> tuple[Delivery, list[DeliveryAttempt]]:
    """A message with its attempts, first to last. Raises NotFound."""
    delivery = session.get(Delivery, delivery_id)
    if delivery is None:
        raise NotFound()
    tries = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return delivery, list(session.scalars(tries.order_by(DeliveryAttempt.number)))


def get_proof(
    session: Session, delivery_id: str
) -> tuple[Delivery, list[DeliveryAttempt], DeliveryAttempt | None, Words | None]:
    """A message with its attempts, the one that the provider took, and the words that it then carried: None of words
    with a code in them, and where they cannot be shown to be the same. Raises NotFound."""
    delivery, attempts = get_delivery(session, delivery_id)
    taken = [each for each in attempts if each.outcome is AttemptOutcome.SENT]
    return (
        delivery,
        attempts,
        *((taken[-1], _words_of(session, delivery, taken[-1])) if taken else (None, None)),
    )


def _words_of(session: Session, delivery: Delivery, attempt: DeliveryAttempt) -> Words | None:
    """Written again from the version of the text that the attempt names."""
    if attempt.words_sha256 is None or attempt.text_version is None:
        return None
    mine = delivery.channel in (Channel.EMAIL, Channel.SMS)
    channel = delivery.channel.value if mine else rendering.IN_APP
    try:
        text = rendering.as_shipped(delivery.event_type, delivery.language, channel)
        if attempt.text_version:
            key = (delivery.event_type, delivery.language, channel, attempt.text_version)
            text = attempt.text_version, session.get_one(TextVersion, key).parts
        words = rendering.render_text(text, delivery.language, delivery.data)
    except (TemplateError, LookupError, TypeError, ValueError):
        return None
    return words if words.digest == attempt.words_sha256 else None
