"""Browsers, webhooks and what is sent to them."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from common import contracts
from common.schemas import Body
from notification import rendering
from notification.models import (
    Channel,
    Delivery,
    DeliveryState,
    Device,
    Webhook,
)


class SubscriptionKeys(Body):
    p256dh: str = Field(min_length=80, max_length=100)
    auth: str = Field(min_length=20, max_length=40)


class DeviceIn(Body):
    """A browser's `PushSubscription.toJSON()`."""

    endpoint: str = Field(min_length=1, max_length=1000)
    keys: SubscriptionKeys
    expirationTime: int | None = Field(default=None, description="as browsers send it; not used")


class DeviceOut(BaseModel):
    id: str
    endpoint: str
    created_at: datetime

    @classmethod
    def of(cls, device: Device) -> Self:
        return cls(id=device.id, endpoint=device.endpoint, created_at=device.created_at)


class PushKeyOut(BaseModel):
    public_key: str = Field(description="`applicationServerKey` for `PushManager.subscribe`, base64url")


def _event_type(name: str) -> str:
    if name not in rendering.texts() or name not in contracts.event_types():
        raise ValueError("not an event that customers are told of")
    return name


EventType = Annotated[str, StringConstraints(max_length=100), AfterValidator(_event_type)]


class WebhookIn(Body):
    url: str = Field(min_length=1, max_length=1000, examples=["https://example.lk/hooks/sri-care"])
    event_types: list[EventType] = Field(default_factory=list, max_length=50, description="empty: all")
    description: str = Field(default="", max_length=200)


class WebhookOut(BaseModel):
    id: str
    url: str
    event_types: list[str]
    description: str
    state: str = Field(examples=["active", "failing", "disabled"])
    disabled_reason: str | None
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        return cls(**_webhook(webhook))


class WebhookCreatedOut(WebhookOut):
    secret: str = Field(description="signs every call (Standard Webhooks, `v1`); shown only now")

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        return cls(**_webhook(webhook), secret=webhook.secret)


def _webhook(webhook: Webhook) -> dict[str, Any]:
    failing = "failing" if webhook.failing_since else "active"
    return {
        "id": webhook.id,
        "url": webhook.url,
        "event_types": webhook.event_types,
        "description": webhook.description,
        "state": "disabled" if webhook.disabled_at else failing,
        "disabled_reason": webhook.disabled_reason,
        "created_at": webhook.created_at,
    }


class DeliveryOut(BaseModel):
    """A message on its way; never its words, which may hold a code."""

    id: str
    event_id: str
    event_type: str
    channel: Channel
    state: DeliveryState
    attempts: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(**delivery_fields(delivery))


def delivery_fields(delivery: Delivery) -> dict[str, Any]:
    names = ("id", "event_id", "event_type", "channel", "state", "attempts", "created_at", "updated_at")
    return {name: getattr(delivery, name) for name in names}
