"""Requests and responses of notification."""

from datetime import datetime
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from common import contracts
from common.db import PageQuery
from common.schemas import Body
from notification import rendering
from notification.gateway.base import masked
from notification.models import (
    AttemptOutcome,
    Category,
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Device,
    Language,
    Notification,
    Preference,
    Webhook,
)


class InboxQuery(PageQuery):
    unread: bool = Field(default=False, description="only those that are not read yet")


class NotificationOut(BaseModel):
    id: str
    event_type: str = Field(examples=["payment.completed"])
    title: str
    body: str
    language: Language
    read_at: datetime | None
    created_at: datetime
    data: dict[str, Any] = Field(description="ids, numbers and amounts of what the notification tells of")

    @classmethod
    def of(cls, notification: Notification) -> Self:
        return cls(
            id=notification.id,
            event_type=notification.event_type,
            title=notification.title,
            body=notification.body,
            language=notification.language,
            read_at=notification.read_at,
            created_at=notification.created_at,
            data=notification.data,
        )


class UnreadCountOut(BaseModel):
    unread: int


class ReadAllOut(BaseModel):
    read: int = Field(description="how many were unread")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a timezone like Asia/Colombo") from None
    return name


Zone = Annotated[str, StringConstraints(max_length=64, pattern="^[A-Za-z0-9_+/-]+$"), AfterValidator(_zone)]
ClockTime = Annotated[str, StringConstraints(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class ChannelsIn(Body):
    """Channels that are left out stay as they are."""

    in_app: bool | None = None
    email: bool | None = None
    sms: bool | None = None
    push: bool | None = None
    webhook: bool | None = None


class QuietHours(Body):
    """Wall-clock times; a start after the end spans midnight. Messages wait until the end; security codes do not."""

    start: ClockTime = Field(examples=["22:00"])
    end: ClockTime = Field(examples=["07:00"])
    timezone: Zone = Field(default="Asia/Colombo")

    @model_validator(mode="after")
    def _not_always(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end must differ")
        return self


class PreferencesIn(Body):
    """What is left out stays as it is; `quiet_hours: null` ends them. `security` and `statutory` cannot be switched
    off."""

    language: Language | None = Field(default=None, strict=False)
    categories: dict[Annotated[Category, Field(strict=False)], ChannelsIn] = Field(
        default_factory=dict, examples=[{"orders": {"sms": False}}]
    )
    quiet_hours: QuietHours | None = None


class PreferencesOut(BaseModel):
    language: Language
    categories: dict[Category, dict[str, bool]] = Field(examples=[{"orders": {"sms": False, "email": True}}])
    quiet_hours: QuietHours | None

    @classmethod
    def of(cls, preference: Preference, profile: Language) -> Self:
        return cls(
            language=preference.language or profile,
            categories={
                category: {
                    channel: preference.allows(category, channel)
                    for channel in (rendering.IN_APP, *(each.value for each in Channel))
                }
                for category in Category
            },
            quiet_hours=QuietHours(
                start=preference.quiet_from, end=preference.quiet_until, timezone=preference.timezone
            )
            if preference.quiet_from is not None and preference.quiet_until is not None
            else None,
        )


class UnsubscribeQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=64)
    category: Category


class UnsubscribedOut(BaseModel):
    category: Category
    email: bool


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
        return cls(**_delivery(delivery))


def _delivery(delivery: Delivery) -> dict[str, Any]:
    names = ("id", "event_id", "event_type", "channel", "state", "attempts", "created_at", "updated_at")
    return {name: getattr(delivery, name) for name in names}


class AdminDeliveriesQuery(PageQuery):
    state: DeliveryState | None = None
    channel: Channel | None = None
    user_id: str | None = Field(default=None, max_length=36)


class AdminDeliveryOut(DeliveryOut):
    user_id: str
    category: Category
    address: str = Field(description="masked")
    target: str = Field(description="id of the device or webhook, else empty")
    language: Language
    due_at: datetime
    correlation_id: str

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(**_admin_delivery(delivery))


def _admin_delivery(delivery: Delivery) -> dict[str, Any]:
    names = ("user_id", "category", "target", "language", "due_at", "correlation_id")
    address = delivery.address if delivery.channel is Channel.WEBHOOK else masked(delivery.address)
    return {
        **_delivery(delivery),
        **{name: getattr(delivery, name) for name in names},
        "address": "" if delivery.channel is Channel.PUSH else address,
    }


class AttemptOut(BaseModel):
    number: int
    provider: str
    outcome: AttemptOutcome | None
    reference: str | None
    reason: str | None
    started_at: datetime
    finished_at: datetime | None


class AdminDeliveryDetailOut(AdminDeliveryOut):
    tries: list[AttemptOut]

    @classmethod
    def with_tries(cls, delivery: Delivery, tries: list[DeliveryAttempt]) -> Self:
        return cls(
            **_admin_delivery(delivery),
            tries=[
                AttemptOut(
                    number=each.number,
                    provider=each.provider,
                    outcome=each.outcome,
                    reference=each.provider_reference,
                    reason=each.reason,
                    started_at=each.started_at,
                    finished_at=each.finished_at,
                )
                for each in tries
            ],
        )


class TextIn(Body):
    """`title` is for channels that have one; Jinja2 with fields of the event, `name`, filters and `if`."""

    title: str | None = Field(default=None, max_length=300)
    body: str = Field(min_length=1, max_length=5000)

    @property
    def parts(self) -> dict[str, str]:
        return {"body": self.body} | ({"title": self.title} if self.title is not None else {})


class TextOut(BaseModel):
    code: str
    language: Language
    channel: str
    version: int = Field(description="0 is the shipped text")
    title: str | None
    body: str


class PreviewOut(BaseModel):
    """The text filled in with sample data; for an SMS also what it costs."""

    title: str | None
    body: str
    encoding: str | None = Field(examples=["gsm7", "ucs2"])
    parts: int | None


class ReceiptIn(Body):
    """What the HTTP gateway says later of a message."""

    reference: str = Field(min_length=1, max_length=200, description="the id that it answered, or ours")
    status: Annotated[str, StringConstraints(pattern="^(delivered|failed)$")]
    reason: str = Field(default="", max_length=200)


class InboundSmsIn(Body):
    """An SMS from a customer."""

    sender: str = Field(alias="from", min_length=3, max_length=20)
    text: str = Field(max_length=2000)
