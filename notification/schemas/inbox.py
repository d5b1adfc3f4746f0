"""The inbox."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from common.db import PageQuery
from notification.models import (
    Language,
    Notification,
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
