"""What staff see and change: messages on their way, and texts."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from common.db import PageQuery
from common.schemas import Body
from notification import rendering, untold
from notification.gateway.base import masked
from notification.models import (
    AttemptOutcome,
    Category,
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Language,
    category_of,
)
from notification.schemas.targets import DeliveryOut, delivery_fields


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
        **delivery_fields(delivery),
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


class EventTextsOut(BaseModel):
    code: str = Field(examples=["invoice.issued"])
    category: Category
    channels: list[str] = Field(
        description="with a text in each language; push and webhooks carry `in_app`'s"
    )
    left_out: dict[str, str] = Field(description="channel → why this event is not told by it")

    @classmethod
    def of(cls, code: str) -> Self:
        return cls(
            code=code,
            category=category_of(code),
            channels=sorted(rendering.channels_of(code)),
            left_out=dict(untold.CHANNELS.get(code, {})),
        )


class PreviewOut(BaseModel):
    """The text filled in with sample data; for an SMS also what it costs."""

    title: str | None
    body: str
    encoding: str | None = Field(examples=["gsm7", "ucs2"])
    parts: int | None
