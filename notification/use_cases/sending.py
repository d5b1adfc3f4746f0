"""Messages on their way out: claimed in batches, settled in batches, given up in the end; retries."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Select, Table, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from common import clock
from common.db import wake
from common.errors import NotFound
from notification import events
from notification.errors import DeliveryNotRetryable
from notification.gateway import Wording
from notification.gateway.push import GONE
from notification.models import (
    MANDATORY,
    OPEN_STATES,
    SECRETS,
    AttemptOutcome,
    Broadcast,
    BroadcastState,
    Category,
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Device,
    Notification,
    Preference,
    Recipient,
    Webhook,
)
from notification.use_cases.preferences import unsubscribe_token
from notification.use_cases.telling import sending_job

PAUSES_S = (5, 30, 120, 600, 1800, 3600)
"""Before the second attempt, the third, …; the last one from then on."""
LONGEST_PAUSE_WHEN_AWAY_S = 300
"""A provider that comes back is noticed within this."""
GIVE_UP_AFTER = {
    Channel.EMAIL: timedelta(days=3),
    Channel.SMS: timedelta(days=1),
    Channel.PUSH: timedelta(days=1),
    Channel.WEBHOOK: timedelta(days=3),
}
RETRYABLE = frozenset({DeliveryState.TEMPORARY_FAILURE, DeliveryState.PERMANENT_FAILURE})
_INSERT_ATTEMPTS = insert(cast(Table, DeliveryAttempt.__table__))
_NEVER_QUIET = frozenset({Channel.WEBHOOK})


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to send until its lease is over, with what it takes beside its own row."""

    delivery: Delivery
    endpoint: Device | Webhook | None = None
    unsubscribe: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What was claimed at once; `more` may be due, though perhaps nothing of this was to be sent."""

    claimed: Sequence[Claimed] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """One call of a provider. `reason` is a code of ours, `detail` the provider's words."""

    provider: str
    started_at: datetime
    outcome: AttemptOutcome
    reason: str | None = None
    detail: str | None = None
    reference: str | None = None
    away: bool = False
    wording: Wording | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claim. Without tries it was not begun, and is due again at `due_at`."""

    claimed: Claimed
    tries: Sequence[Try] = field(default_factory=tuple)
    due_at: datetime | None = None


def claim(session: Session, *, channel: Channel, lease: timedelta, limit: int) -> Batch:
    """Take up to `limit` messages of a channel that are due, oldest first.

    One whose sender died is taken again when its lease is over. What was read in the app meanwhile is dropped; what is
    too old, switched off or has nowhere to go is ended here, and what falls into its reader's quiet hours is put off;
    so fewer may come than are due, or none though more are.
    """
    rows = session.execute(_due(channel, limit)).all()
    endpoints = _endpoints(session, channel, [row.Delivery.target for row in rows])
    unneeded = _read_already(session, [row.Delivery for row in rows])
    called_off = _called_off(session, [row.Delivery for row in rows])
    mine = []
    for delivery, preference in ((row.Delivery, row.Preference) for row in rows):
        if delivery.state is DeliveryState.SENDING:
            _note_interrupted(session, delivery)
        if delivery.id in unneeded:
            session.delete(delivery)
            continue
        endpoint = endpoints.get(delivery.target)
        ending = _ending(delivery, preference, endpoint)
        if delivery.event_id in called_off:
            ending = "cancelled"
        if ending is not None:
            _end(session, delivery, ending)
        elif (wake_at := _quiet_until(delivery, preference)) is not None:
            _put_off(delivery, wake_at)
        else:
            mine.append(Claimed(delivery, endpoint))
    _begin(session, [each.delivery for each in mine], lease)
    return Batch(_with_tokens(session, mine) if channel is Channel.EMAIL else mine, len(rows) == limit)


def _due(channel: Channel, limit: int) -> Select[Delivery, Preference]:
    return (
        select(Delivery, Preference)
        .outerjoin(Preference, Preference.user_id == Delivery.user_id)
        .where(Delivery.channel == channel, Delivery.state.in_(OPEN_STATES), Delivery.due_at <= clock.now())
        .order_by(Delivery.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
    )


def _endpoints(session: Session, channel: Channel, targets: list[str]) -> dict[str, Any]:
    kind: Any = {Channel.PUSH: Device, Channel.WEBHOOK: Webhook}.get(channel)
    if kind is None or not targets:
        return {}
    return {row.id: row for row in session.scalars(select(kind).where(kind.id.in_(set(targets))))}


def _read_already(session: Session, deliveries: list[Delivery]) -> set[str]:
    """Those that their readers need no more."""
    waited = [each for each in deliveries if each.unless_read and not each.attempts]
    if not waited:
        return set()
    read = select(Notification.event_id, Notification.user_id).where(
        Notification.event_id.in_([each.event_id for each in waited]),
        Notification.read_at.is_not(None) | Notification.deleted_at.is_not(None),
    )
    known = {(row.event_id, row.user_id) for row in session.execute(read)}
    return {each.id for each in waited if (each.event_id, each.user_id) in known}


def _called_off(session: Session, deliveries: list[Delivery]) -> set[str]:
    """Broadcasts of these that were cancelled while a message of theirs was with its provider."""
    theirs = {each.event_id for each in deliveries if each.event_type.startswith("broadcast.")}
    if not theirs:
        return set()
    cancelled = select(Broadcast.id).where(
        Broadcast.id.in_(theirs), Broadcast.state == BroadcastState.CANCELLED
    )
    return set(session.scalars(cancelled))


def _ending(
    delivery: Delivery, preference: Preference | None, endpoint: Device | Webhook | None
) -> str | None:
    """Why a message is not sent any more, or None."""
    now = clock.now()
    if delivery.expires_at is not None and delivery.expires_at <= now:
        return "expired"
    if (
        delivery.attempts
        and (delivery.retried_at or delivery.created_at) < now - GIVE_UP_AFTER[delivery.channel]
    ):
        return "gave_up"
    if preference is not None and not preference.allows(delivery.category, delivery.channel):
        return "switched_off"
    if delivery.target and (endpoint is None or getattr(endpoint, "disabled_at", None) is not None):
        return "target_gone"
    return None


def _quiet_until(delivery: Delivery, preference: Preference | None) -> datetime | None:
    if preference is None or delivery.category is Category.SECURITY or delivery.channel in _NEVER_QUIET:
        return None
    return preference.quiet_ends_at(clock.now())


def _put_off(delivery: Delivery, until: datetime) -> None:
    if delivery.state is DeliveryState.SENDING:
        delivery.state = DeliveryState.TEMPORARY_FAILURE
    delivery.due_at = until


def _note_interrupted(session: Session, delivery: Delivery) -> None:
    """Its sender died; by which provider it was trying is not known any more."""
    session.add(
        DeliveryAttempt(
            delivery_id=delivery.id,
            number=delivery.attempts,
            provider="",
            started_at=delivery.updated_at,
            finished_at=clock.now(),
            outcome=AttemptOutcome.UNKNOWN,
            reason="interrupted",
        )
    )


def _end(session: Session, delivery: Delivery, reason: str) -> None:
    delivery.settle(DeliveryState.PERMANENT_FAILURE)
    session.add(events.notification_failed(delivery, reason))


def _begin(session: Session, deliveries: list[Delivery], lease: timedelta) -> None:
    """One statement for all; `attempts` is the number of the attempt that begins."""
    session.flush()
    values = {"state": DeliveryState.SENDING, "due_at": clock.now() + lease, "updated_at": clock.now()}
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_([delivery.id for delivery in deliveries]))
        .values(**values, attempts=Delivery.attempts + 1)
        .execution_options(synchronize_session=False)
    )
    for delivery in deliveries:
        values["attempts"] = delivery.attempts + 1
        for name, value in values.items():
            set_committed_value(delivery, name, value)


def _with_tokens(session: Session, mine: list[Claimed]) -> list[Claimed]:
    """What can be switched off says how."""
    users = {each.delivery.user_id for each in mine if each.delivery.category not in MANDATORY}
    found = session.scalars(select(Recipient).where(Recipient.user_id.in_(users))) if users else ()
    tokens = {recipient.user_id: unsubscribe_token(recipient) for recipient in found}
    return [
        Claimed(each.delivery, unsubscribe=tokens[each.delivery.user_id])
        if each.delivery.user_id in tokens and each.delivery.category not in MANDATORY
        else each
        for each in mine
    ]


def settle(session: Session, results: Sequence[Result]) -> None:
    """Note how claims ended. No effect on a message that another has claimed since."""
    wanted = [result.claimed.delivery.id for result in results]
    current = (
        select(Delivery.id, Delivery.attempts)
        .where(Delivery.id.in_(wanted), Delivery.state == DeliveryState.SENDING)
        .order_by(Delivery.id)
        .with_for_update()
    )
    held = {(row.id, row.attempts) for row in session.execute(current)}
    ours = [each for each in results if (each.claimed.delivery.id, each.claimed.delivery.attempts) in held]
    attempts = [row for result in ours for row in _attempts(result)]
    if attempts:
        session.connection().execute(_INSERT_ATTEMPTS, attempts)
    plain = [each for each in ours if _plainly_sent(each)]
    if plain:
        _settle_sent(session, plain)
    for result in ours:
        if not _plainly_sent(result):
            _settle_one(session, result)
    _note_endpoints(session, ours)


def _attempts(result: Result) -> list[dict[str, Any]]:
    delivery, now = result.claimed.delivery, clock.now()
    return [
        {
            "delivery_id": delivery.id,
            "number": delivery.attempts + n,
            "provider": each.provider,
            "started_at": each.started_at,
            "finished_at": now,
            "outcome": each.outcome,
            "provider_reference": each.reference,
            "reason": each.detail[:300] if each.detail else None,
            "text_version": each.wording.version if each.wording else None,
            "words_sha256": each.wording.sha256 if each.wording else None,
        }
        for n, each in enumerate(result.tries)
    ]


def _plainly_sent(result: Result) -> bool:
    tries, data = result.tries, result.claimed.delivery.data
    return len(tries) == 1 and tries[0].outcome is AttemptOutcome.SENT and not SECRETS & data.keys()


def _settle_sent(session: Session, results: list[Result]) -> None:
    now = clock.now()
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_([each.claimed.delivery.id for each in results]))
        .values(state=DeliveryState.SENT, due_at=now, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    session.add_all([events.notification_sent(each.claimed.delivery) for each in results])


def _settle_one(session: Session, result: Result) -> None:
    delivery = session.get_one(Delivery, result.claimed.delivery.id)
    if not result.tries:
        delivery.attempts -= 1
        delivery.settle(
            DeliveryState.TEMPORARY_FAILURE if delivery.attempts else DeliveryState.CREATED,
            due_at=result.due_at,
        )
        return
    delivery.attempts += len(result.tries) - 1
    last = result.tries[-1]
    if last.outcome is AttemptOutcome.SENT:
        delivery.settle(DeliveryState.SENT)
        session.add(events.notification_sent(delivery))
    elif last.outcome is AttemptOutcome.PERMANENT_FAILURE:
        _end(session, delivery, last.reason or "refused")
    else:
        due_at = clock.now() + _pause(delivery.attempts, away=last.away)
        delivery.settle(DeliveryState.TEMPORARY_FAILURE, due_at=due_at)


def _note_endpoints(session: Session, results: Sequence[Result]) -> None:
    """A webhook's health, and the end of subscriptions that are gone."""
    for result in results:
        endpoint = result.claimed.endpoint
        if endpoint is None or not result.tries:
            continue
        last = result.tries[-1]
        if isinstance(endpoint, Device):
            if last.reason == GONE and (device := session.get(Device, endpoint.id)) is not None:
                session.delete(device)
        elif last.outcome is not AttemptOutcome.SENT or endpoint.failing_since is not None:
            webhook = session.get(Webhook, endpoint.id, with_for_update=True)
            if webhook is not None and last.outcome is AttemptOutcome.SENT:
                webhook.note_success()
            elif webhook is not None and webhook.disabled_at is None:
                webhook.note_failure(last.reason or "refused")


def _pause(attempts: int, *, away: bool) -> timedelta:
    """Longer each time, with jitter so that messages that failed together do not all come back together."""
    seconds = PAUSES_S[min(attempts, len(PAUSES_S)) - 1]
    if away:
        seconds = min(seconds, LONGEST_PAUSE_WHEN_AWAY_S)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter, not a secret)


def end_messages_to(session: Session, user_id: str) -> None:
    """Nothing that waits for a user is sent any more. Safe to repeat."""
    waiting = (
        select(Delivery)
        .where(
            Delivery.user_id == user_id,
            Delivery.state.in_((DeliveryState.CREATED, DeliveryState.TEMPORARY_FAILURE)),
        )
        .order_by(Delivery.id)
        .with_for_update()
    )
    for delivery in session.scalars(waiting):
        _end(session, delivery, "user_gone")


def retry_delivery(session: Session, delivery_id: str, *, also_sent: bool = False) -> Delivery:
    """Have a message that was given up tried again, or one that waits tried now, `also_sent`: or one that was sent.
    Raises NotFound, DeliveryNotRetryable (sent already, being sent, or the code in it is forgotten)."""
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None:
        raise NotFound()
    forgotten = delivery.expires_at is not None and delivery.state is DeliveryState.PERMANENT_FAILURE
    retryable = RETRYABLE | {DeliveryState.SENT} if also_sent else RETRYABLE
    if delivery.state not in retryable or forgotten:
        raise DeliveryNotRetryable()
    delivery.retry()
    wake(session, sending_job(delivery.channel))
    return delivery
