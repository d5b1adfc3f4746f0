"""Storms: what would reach a customer too often by a channel is put together in one message."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common import clock, ids
from notification.models import Category, Channel, Delivery, DeliveryState, Language, Recipient

DIGEST_AFTER = timedelta(minutes=15)
LISTED = 50
"""So many titles stand in a digest; the rest is counted."""
_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has set. `per_hour`: so many messages a customer gets one by one, by device for push.
    `sms_if_unread_after`: how long an SMS waits for its reader to read the push instead; None: it does not wait."""

    per_hour: Mapping[Channel, int] = field(default_factory=dict)
    sms_if_unread_after: timedelta | None = None


def overdone(session: Session, user_id: str, rules: Rules) -> set[tuple[Channel, str]]:
    """(channel, target) by which a customer has had enough for this hour."""
    lately = (
        select(Delivery.channel, Delivery.target, func.count().label("had"))
        .where(
            Delivery.user_id == user_id,
            Delivery.created_at > clock.now() - _WITHIN,
            Delivery.channel.in_(rules.per_hour),
            Delivery.event_type.not_like("digest.%"),
        )
        .group_by(Delivery.channel, Delivery.target)
    )
    return {
        (row.channel, row.target) for row in session.execute(lately) if row.had >= rules.per_hour[row.channel]
    }


def put_into_digest(
    session: Session,
    *,
    recipient: Recipient,
    category: Category,
    language: Language,
    channel: Channel,
    target: str,
    address: str,
    title: str,
) -> None:
    """One that is not on its way yet takes it up, or a new one that goes out in a while."""
    now, event_type = clock.now(), f"digest.{category.value}"
    waiting = (
        select(Delivery)
        .where(
            Delivery.user_id == recipient.user_id,
            Delivery.channel == channel,
            Delivery.target == target,
            Delivery.event_type == event_type,
            Delivery.state == DeliveryState.CREATED,
            Delivery.due_at > now,
        )
        .order_by(Delivery.id)
        .limit(1)
        .with_for_update()
    )
    digest = session.scalars(waiting).first()
    if digest is not None:
        titles = [*digest.data["titles"], title][:LISTED]
        digest.data = {**digest.data, "titles": titles, "count": digest.data["count"] + 1}
        return
    made = ids.new_id()
    session.add(
        Delivery(
            id=made,
            user_id=recipient.user_id,
            event_id=made,
            event_type=event_type,
            channel=channel,
            target=target,
            address=address,
            language=language,
            data={"name": recipient.name, "titles": [title], "count": 1},
            correlation_id=made,
            due_at=now + DIGEST_AFTER,
        )
    )
