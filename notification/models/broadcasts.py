"""Broadcasts: one message of the operator to many customers."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from notification.models.base import Base, Category, where


class BroadcastState(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


UNENDED_STATES = (BroadcastState.SCHEDULED, BroadcastState.RUNNING)


class Broadcast(Base):
    """A message to a segment of the customers, who are gone through in the order of their ids.

    `reached` is the last of them whose messages are written: what comes after a crash begins behind it. `passed` counts
    those gone by, `told` those of them who had it by some channel. `texts` is language → part (`title`, `body`, `sms`).
    The segment is all customers, or those of `user_ids` (in their order), who read one of `languages`, hold a service
    of one of the offerings `holding`, and are `barred` or are not; an empty list or None asks nothing.
    """

    __tablename__ = "broadcasts"
    __table_args__ = (
        Index("ix_broadcasts_unended", "starts_at", **where("state IN ('scheduled', 'running')")),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    category: Mapped[Category] = mapped_column(enum_column(Category))
    channels: Mapped[list[str]] = mapped_column(JSON)
    languages: Mapped[list[str]] = mapped_column(JSON)
    user_ids: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    barred: Mapped[bool | None]
    holding: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    texts: Mapped[dict[str, Any]] = mapped_column(JSON)
    per_minute: Mapped[int]
    starts_at: Mapped[datetime]
    state: Mapped[BroadcastState] = mapped_column(
        enum_column(BroadcastState), default=BroadcastState.SCHEDULED
    )
    reached: Mapped[str] = mapped_column(Id, default="")
    passed: Mapped[int] = mapped_column(default=0)
    told: Mapped[int] = mapped_column(default=0)
    author_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    paced_from: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    @property
    def event_type(self) -> str:
        return f"broadcast.{self.category.value}"

    def begin(self) -> None:
        """The first second's customers at once. Safe to repeat."""
        assert self.state in UNENDED_STATES
        if self.state is BroadcastState.SCHEDULED:
            self.state = BroadcastState.RUNNING
            self.paced_from = clock.now() - timedelta(seconds=1)

    def allowance(self) -> int:
        """How many more may be gone by now; after a pause not all that was missed at once."""
        now = clock.now()
        if self.paced_from is None:
            return 0
        self.paced_from = max(self.paced_from, now - timedelta(seconds=2))
        return int((now - self.paced_from).total_seconds() * self.per_minute / 60)

    def pass_by(self, count: int, told: int, reached: str) -> None:
        assert self.state is BroadcastState.RUNNING
        assert self.paced_from is not None
        self.passed, self.told, self.reached = self.passed + count, self.told + told, reached
        self.paced_from += timedelta(seconds=count * 60 / self.per_minute)

    def finish(self) -> None:
        assert self.state is BroadcastState.RUNNING
        self.state, self.ended_at = BroadcastState.FINISHED, clock.now()

    def cancel(self) -> None:
        """Who has it has it. Safe to repeat."""
        assert self.state is not BroadcastState.FINISHED
        if self.state is not BroadcastState.CANCELLED:
            self.state, self.ended_at = BroadcastState.CANCELLED, clock.now()
