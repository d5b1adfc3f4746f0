"""What network elements are told, and what is known of them."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from common import clock, ids
from common.db import Id, enum_column
from provisioning.models.base import Base, Element, WrongState
from provisioning.models.services import Service


class Action(StrEnum):
    """What a network element is told to do with a service."""

    ACTIVATE = "activate"
    CHANGE = "change"
    SUSPEND = "suspend"
    RESTORE = "restore"
    DEACTIVATE = "deactivate"
    RENEW = "renew"
    RECONCILE = "reconcile"


TOLD_AGAIN = (Action.SUSPEND, Action.RESTORE, Action.DEACTIVATE, Action.RECONCILE)
"""What an element must do in the end: a refusal is staff's concern, not the customer's."""


class CommandState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Command(Base):
    """Something that a network element has to be told, under an id that it knows a repetition by. `order_id`
    is the order that it fulfils. `starts_at` is when it was to be told first, if not at once; `due_at` is when next.

    Whoever calls the element claims the command by moving `due_at` past the end of its lease: if it dies, the command
    is due again.
    """

    __tablename__ = "commands"
    __table_args__ = (
        Index("ix_commands_service_id_id", "service_id", "id"),
        Index(
            "ix_commands_due",
            "due_at",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    order_id: Mapped[str | None] = mapped_column(Id)
    action: Mapped[Action] = mapped_column(enum_column(Action))
    characteristics: Mapped[dict[str, str]] = mapped_column(JSON)
    previous: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    reason: Mapped[str] = mapped_column(String(200))
    state: Mapped[CommandState] = mapped_column(enum_column(CommandState), default=CommandState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    starts_at: Mapped[datetime | None]
    due_at: Mapped[datetime] = mapped_column(default=clock.now)
    settled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    service: Mapped[Service] = relationship()

    @property
    def since(self) -> datetime:
        """From when it was to be carried out."""
        return self.starts_at or self.created_at

    @property
    def due(self) -> bool:
        return self.state is CommandState.PENDING and self.due_at <= clock.now()

    def claim(self, lease: timedelta) -> None:
        """It is the caller's now, for the length of the lease."""
        if not self.due:
            raise WrongState(f"command {self.id}: claimed while not due")
        self.attempts += 1
        self.due_at = clock.now() + lease

    def try_again(self, *, after: timedelta) -> None:
        self.due_at = clock.now() + after

    def settle(self, to: CommandState) -> bool:
        """Whether this settled it now (False: it was settled before)."""
        if self.state is not CommandState.PENDING:
            return False
        self.state, self.settled_at = to, clock.now()
        return True


class CommandAttempt(Base):
    """One call of an element for a command. Without an end its worker died: nobody knows what became of it."""

    __tablename__ = "command_attempts"

    command_id: Mapped[str] = mapped_column(ForeignKey("commands.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(default=clock.now)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None] = mapped_column(String(500))


@dataclass(frozen=True)
class CallRules:
    """How an element may be called: `rate_per_s` with up to `burst` calls at once; after `open_after` failures in a row
    not at all for `open_for`; a call whose worker died is made again after `lease`."""

    lease: timedelta
    rate_per_s: float
    burst: int
    open_after: int
    open_for: timedelta

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=1 / self.rate_per_s)


class NetworkElement(Base):
    """What is known of an element and how fast it may be called: one row for all workers, locked by each call's claim.

    `next_at` is the theoretical arrival time of the next call (GCRA): the pace is kept by one column. The circuit is
    open until `open_until`; the first call after that is the only one until it has an answer.
    """

    __tablename__ = "network_elements"

    element: Mapped[Element] = mapped_column(enum_column(Element), primary_key=True)
    held: Mapped[bool] = mapped_column(default=False)
    next_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    open_until: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    failure: Mapped[str | None] = mapped_column(String(64))

    @property
    def closed_to_calls(self) -> bool:
        """Held by the operator, or its circuit is open."""
        return self.held or (self.open_until is not None and clock.now() < self.open_until)

    def wait(self, rules: CallRules, calls: int = 1) -> timedelta:
        """How long the pace makes the next so many calls wait, of which there are no more than a burst."""
        if self.next_at is None:
            return timedelta()
        return max(timedelta(), self.next_at - (rules.burst - calls) * rules.interval - clock.now())

    def admit(self, rules: CallRules, wanted: int) -> int:
        """How many of so many calls may be made now; they are counted then."""
        if self.closed_to_calls:
            return 0
        now = clock.now()
        next_at = max(self.next_at or now, now)
        admitted = min(wanted, max(0, rules.burst - math.ceil((next_at - now) / rules.interval)))
        if admitted and self.open_until is not None:
            admitted, self.open_until = 1, now + rules.lease
        if admitted:
            self.next_at = next_at + admitted * rules.interval
        return admitted

    @property
    def answer_is_news(self) -> bool:
        """Whether an answer now changes more than the second at which the last one came."""
        if self.failures or self.open_until is not None or self.answered_at is None:
            return True
        return clock.now() - self.answered_at >= timedelta(seconds=1)

    def answered(self) -> None:
        """It gave a whole answer, whatever it says."""
        self.answered_at, self.failures, self.open_until = clock.now(), 0, None

    def failed(self, reason: str, rules: CallRules) -> None:
        """A call to it failed; too many in a row open the circuit, as does the one that was to try it out."""
        self.failed_at, self.failure = clock.now(), reason[:64]
        self.failures += 1
        if self.failures >= rules.open_after:
            self.open_until = clock.now() + rules.open_for


class SimulatedAnswer(Base):
    """The memory of the simulated network elements: how each command was answered, so that a repetition is harmless."""

    __tablename__ = "simulated_answers"

    command_id: Mapped[str] = mapped_column(Id, primary_key=True)
    element: Mapped[str] = mapped_column(String(32))
    action: Mapped[str] = mapped_column(String(32))
    service_id: Mapped[str] = mapped_column(Id)
    refusal: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime] = mapped_column(default=clock.now)


class SimulatedService(Base):
    """The memory of the simulated network elements: a service as they have it."""

    __tablename__ = "simulated_services"

    service_id: Mapped[str] = mapped_column(Id, primary_key=True)
    element: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32))
    characteristics: Mapped[dict[str, str]] = mapped_column(JSON)
