"""Where customers have messages sent beside their phone and mailbox: webhooks and browsers."""

import hashlib
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.errors import NotFound
from notification.errors import TargetNotAllowed, TooManyDevices, TooManyWebhooks
from notification.gateway.outbound import refusal_of
from notification.gateway.push import check_keys
from notification.gateway.webhooks import new_secret
from notification.models import Channel, Delivery, DeliveryState, Device, Language, Webhook
from notification.use_cases.sending import retry_delivery
from notification.use_cases.telling import sending_job

WEBHOOKS_EACH = 5
DEVICES_EACH = 10
TEST_EVENT = "webhook.test"


def add_webhook(
    session: Session,
    *,
    webhook_id: str,
    user_id: str,
    url: str,
    event_types: list[str],
    description: str,
    public_only: bool,
) -> Webhook:
    """Raises TargetNotAllowed, TooManyWebhooks."""
    _check(url, "url", public_only=public_only)
    if _count(session, Webhook, user_id) >= WEBHOOKS_EACH:
        raise TooManyWebhooks(f"A customer has at most {WEBHOOKS_EACH} webhooks")
    webhook = Webhook(
        id=webhook_id,
        user_id=user_id,
        url=url,
        secret=new_secret(),
        event_types=event_types,
        description=description,
    )
    session.add(webhook)
    return webhook


def get_webhook(session: Session, *, user_id: str, webhook_id: str) -> Webhook:
    """Raises NotFound, for another's too."""
    webhook = session.get(Webhook, webhook_id)
    if webhook is None or webhook.user_id != user_id:
        raise NotFound()
    return webhook


def enable_webhook(session: Session, *, user_id: str, webhook_id: str) -> Webhook:
    """Try again one that was disabled after failing for long. Safe to repeat. Raises NotFound."""
    webhook = get_webhook(session, user_id=user_id, webhook_id=webhook_id)
    webhook.enable()
    return webhook


def remove_webhook(session: Session, *, user_id: str, webhook_id: str) -> None:
    session.delete(get_webhook(session, user_id=user_id, webhook_id=webhook_id))


def test_webhook(session: Session, *, delivery_id: str, user_id: str, webhook_id: str) -> Delivery:
    """Have a signed call made that tells of nothing. Raises NotFound."""
    webhook = get_webhook(session, user_id=user_id, webhook_id=webhook_id)
    delivery = Delivery(
        id=delivery_id,
        user_id=user_id,
        event_id=ids.new_id(),
        event_type=TEST_EVENT,
        channel=Channel.WEBHOOK,
        target=webhook.id,
        address=webhook.url[:254],
        language=Language.ENGLISH,
        data={},
        correlation_id=delivery_id,
        state=DeliveryState.CREATED,
        attempts=0,
        due_at=clock.now(),
        created_at=clock.now(),
    )
    session.add(delivery)
    wake(session, sending_job(Channel.WEBHOOK))
    return delivery


test_webhook.__test__ = False  # type: ignore[attr-defined]


def redeliver(session: Session, *, user_id: str, webhook_id: str, delivery_id: str) -> Delivery:
    """A call that failed or one that was taken: its `webhook-id` tells who has it already. Raises NotFound,
    DeliveryNotRetryable."""
    webhook = get_webhook(session, user_id=user_id, webhook_id=webhook_id)
    if session.scalar(select(Delivery.target).where(Delivery.id == delivery_id)) != webhook.id:
        raise NotFound()
    return retry_delivery(session, delivery_id, also_sent=True)


def add_device(
    session: Session,
    *,
    device_id: str,
    user_id: str,
    endpoint: str,
    p256dh: str,
    auth: str,
    public_only: bool,
) -> Device:
    """A browser's subscription. One that is here already is the user's from now on, with the new keys: a browser
    belongs to who is signed in. Raises TargetNotAllowed, TooManyDevices."""
    _check(endpoint, "endpoint", public_only=public_only)
    if not check_keys(p256dh, auth):
        raise TargetNotAllowed(
            "The keys are not those of a subscription", errors=[{"field": "keys", "message": "not valid"}]
        )
    digest = hashlib.sha256(endpoint.encode()).hexdigest()
    device = session.scalars(
        select(Device).where(Device.endpoint_hash == digest).with_for_update()
    ).one_or_none()
    if device is None:
        if _count(session, Device, user_id) >= DEVICES_EACH:
            raise TooManyDevices(f"A customer has at most {DEVICES_EACH} devices")
        device = Device(id=device_id, endpoint=endpoint, endpoint_hash=digest)
        session.add(device)
    device.user_id, device.p256dh, device.auth = user_id, p256dh, auth
    return device


def remove_device(session: Session, *, user_id: str, device_id: str) -> None:
    """Raises NotFound, for another's too."""
    device = session.get(Device, device_id)
    if device is None or device.user_id != user_id:
        raise NotFound()
    session.delete(device)


def _check(url: str, field: str, *, public_only: bool) -> None:
    refusal = refusal_of(url, public_only=public_only)
    if refusal is not None:
        raise TargetNotAllowed(f"{field} {refusal}", errors=[{"field": field, "message": refusal}])


def _count(session: Session, kind: Any, user_id: str) -> int:
    return session.scalar(select(func.count()).select_from(kind).where(kind.user_id == user_id)) or 0
