"""What staff see and change: messages on their way, and texts."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from common.db import PageQuery
from common.schemas import Body
from notification import rendering, untold
from notification.gateway.base import masked, masked_url
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
from notification.rendering import Words
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
    mask = masked_url if delivery.channel is Channel.WEBHOOK else masked
    return {
        **delivery_fields(delivery),
        **{name: getattr(delivery, name) for name in names},
        "address": "" if delivery.channel is Channel.PUSH else mask(delivery.address),
    }


class AttemptOut(BaseModel):
    number: int
    provider: str
    outcome: AttemptOutcome | None
    reference: str | None
    reason: str | None
    started_at: datetime
    finished_at: datetime | None
    text_version: int | None = Field(description="of the words that it carried; 0 is the shipped text")
    receipt_at: datetime | None = Field(description="when the provider said what became of it")

    @classmethod
    def of(cls, attempt: DeliveryAttempt) -> Self:
        names = (
            "number",
            "provider",
            "outcome",
            "reason",
            "started_at",
            "finished_at",
            "text_version",
            "receipt_at",
        )
        return cls(**{name: getattr(attempt, name) for name in names}, reference=attempt.provider_reference)


class AdminDeliveryDetailOut(AdminDeliveryOut):
    tries: list[AttemptOut]

    @classmethod
    def with_tries(cls, delivery: Delivery, tries: list[DeliveryAttempt]) -> Self:
        return cls(**_admin_delivery(delivery), tries=[AttemptOut.of(each) for each in tries])


class ProofOut(AdminDeliveryDetailOut):
    """What shows that a message was sent, to whom, in which words, and what its provider said of it."""

    address: str = Field(description="whole, of an e-mail or SMS")
    message_id: str | None = Field(description="the message's id at the provider that took it")
    taken_by: str | None = Field(description="provider")
    taken_at: datetime | None
    receipt: str | None = Field(
        description="the provider's last word", examples=["delivered", "not_delivered"]
    )
    receipt_at: datetime | None
    text_version: int | None = Field(description="0 is the shipped text")
    words_sha256: str | None = Field(description="of title, line break and body; none of words with a code")
    title: str | None = Field(
        description="as sent; none where it cannot be shown to be the same, or holds a code"
    )
    body: str | None

    @classmethod
    def of_proof(
        cls,
        delivery: Delivery,
        tries: list[DeliveryAttempt],
        taken: DeliveryAttempt | None,
        words: Words | None,
    ) -> Self:
        fields = _admin_delivery(delivery)
        if delivery.channel in (Channel.EMAIL, Channel.SMS):
            fields["address"] = delivery.address
        receipt = None
        if taken is not None and taken.receipt_at is not None:
            receipt = "delivered" if delivery.state is DeliveryState.DELIVERED else "not_delivered"
        return cls(
            **fields,
            tries=[AttemptOut.of(each) for each in tries],
            message_id=taken.provider_reference if taken else None,
            taken_by=taken.provider if taken else None,
            taken_at=taken.finished_at if taken else None,
            receipt=receipt,
            receipt_at=taken.receipt_at if taken else None,
            text_version=taken.text_version if taken else None,
            words_sha256=taken.words_sha256 if taken else None,
            title=words.title if words else None,
            body=words.body if words else None,
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
