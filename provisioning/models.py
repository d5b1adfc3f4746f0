"""Tables of provisioning, their invariants and state transitions.

Rows are locked in one order everywhere: order, customer, service, command.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common import clock, ids
from common.db import Id, ModelBase, enum_column, service_metadata
from common.money import Money
from provisioning.errors import OrderNotCancellable, ServiceNotLive


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class Category(StrEnum):
    DATA = "data"
    ROAMING = "roaming"
    RING_BACK_TONE = "ring_back_tone"
    CALL_WAITING = "call_waiting"
    SMS = "sms"
    VOICE = "voice"


class Element(StrEnum):
    """A kind of network element."""

    CHARGING = "ocs"
    SUBSCRIBER_REGISTER = "hlr"
    RING_BACK_TONES = "crbt"
    MESSAGE_CENTRE = "smsc"


class OfferingState(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class OrderState(StrEnum):
    PENDING_PAYMENT = "pending_payment"
    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ServiceState(StrEnum):
    INACTIVE = "inactive"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class Action(StrEnum):
    """What a network element is told to do with a service."""

    ACTIVATE = "activate"
    CHANGE = "change"
    SUSPEND = "suspend"
    RESTORE = "restore"
    DEACTIVATE = "deactivate"


class CommandState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class WrongState(Exception):
    """A transition that the model does not have: a defect of the caller, not a refusal."""


class Offering(Base):
    """What can be ordered. `stackable` ones may be bought again while active (packs), the others not (features)."""

    __tablename__ = "offerings"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(String(1000))
    category: Mapped[Category] = mapped_column(enum_column(Category), index=True)
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    validity_days: Mapped[int | None]
    recurring: Mapped[bool]
    requires_kyc: Mapped[bool]
    stackable: Mapped[bool]
    element: Mapped[Element] = mapped_column(enum_column(Element))
    characteristics: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    allowances: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    state: Mapped[OfferingState] = mapped_column(enum_column(OfferingState))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)


class Customer(Base):
    """What provisioning knows of a user, from auth's events."""

    __tablename__ = "customers"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    phone: Mapped[str | None] = mapped_column(String(20))
    profile_at: Mapped[datetime | None]
    kyc_approved_at: Mapped[datetime | None]
    deactivated_at: Mapped[datetime | None]
    barred: Mapped[bool] = mapped_column(default=False)
    barring_at: Mapped[datetime | None]

    def update_profile(self, *, phone: str, at: datetime) -> None:
        """Take a profile that was current at an instant; an older one than known changes nothing."""
        if self.profile_at is None or at > self.profile_at:
            self.phone, self.profile_at = phone, at

    def set_barred(self, barred: bool, *, at: datetime) -> bool:
        """Whether this changed it; news older than known changes nothing."""
        if self.barring_at is not None and at <= self.barring_at:
            return False
        self.barring_at = at
        changed = self.barred is not barred
        self.barred = barred
        return changed


class Order(Base):
    """A customer's order with its own copy of what the offering was when it was placed."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_user_id_id", "user_id", "id"),
        Index("ix_orders_state_id", "state", "id"),
        Index(
            "ix_orders_unpaid",
            "created_at",
            postgresql_where=text("state = 'pending_payment'"),
            sqlite_where=text("state = 'pending_payment'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[str] = mapped_column(String(20), unique=True)
    user_id: Mapped[str] = mapped_column(Id)
    state: Mapped[OrderState] = mapped_column(enum_column(OrderState))
    offering_id: Mapped[str] = mapped_column(Id)
    offering_code: Mapped[str] = mapped_column(String(64))
    offering_name: Mapped[str] = mapped_column(String(120))
    category: Mapped[Category] = mapped_column(enum_column(Category))
    total_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    validity_days: Mapped[int | None]
    recurring: Mapped[bool]
    stackable: Mapped[bool]
    element: Mapped[Element] = mapped_column(enum_column(Element))
    allowances: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    characteristics: Mapped[dict[str, str]] = mapped_column(JSON)
    payment_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    history: Mapped[list["OrderChange"]] = relationship(order_by="OrderChange.id", back_populates="order")

    @property
    def total(self) -> Money:
        return Money(amount_minor=self.total_minor, currency=self.currency)

    def placed(self) -> None:
        """First state: priced orders wait for their money."""
        paid = self.total_minor == 0
        self.state = OrderState.ACKNOWLEDGED if paid else OrderState.PENDING_PAYMENT
        self.note("placed")

    def acknowledge(self, payment_id: str) -> None:
        self._move(OrderState.ACKNOWLEDGED, "paid", {OrderState.PENDING_PAYMENT})
        self.payment_id = payment_id

    def start(self) -> None:
        """The network is told now. Safe to repeat."""
        if self.state is not OrderState.IN_PROGRESS:
            self._move(OrderState.IN_PROGRESS, "activation_started", {OrderState.ACKNOWLEDGED})

    def complete(self) -> None:
        self._move(OrderState.COMPLETED, "activated", {OrderState.IN_PROGRESS})

    def fail(self, reason: str) -> None:
        self._move(OrderState.FAILED, reason, {OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS})

    def expire(self) -> None:
        self._move(OrderState.EXPIRED, "expired", {OrderState.PENDING_PAYMENT})

    def cancel(self, reason: str) -> None:
        """Raises OrderNotCancellable once the network has been told."""
        if self.state not in (OrderState.PENDING_PAYMENT, OrderState.ACKNOWLEDGED):
            raise OrderNotCancellable(f"The order is {self.state.value}")
        self.state = OrderState.CANCELLED
        self.note(reason)

    def note(self, reason: str, *, actor_id: str | None = None) -> None:
        """Keep in the history that something happened, in the state that the order is in."""
        self.history.append(OrderChange(state=self.state, reason=reason[:200], actor_id=actor_id))

    def _move(self, to: OrderState, reason: str, allowed: set[OrderState]) -> None:
        if self.state not in allowed:
            raise WrongState(f"order {self.id}: {self.state.value} to {to.value}")
        self.state = to
        self.note(reason)


class OrderChange(Base):
    """A line of an order's history: the state from then on, and why. Rows are only ever added."""

    __tablename__ = "order_changes"
    __table_args__ = (Index("ix_order_changes_order_id_id", "order_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"))
    state: Mapped[OrderState] = mapped_column(enum_column(OrderState))
    reason: Mapped[str] = mapped_column(String(200))
    actor_id: Mapped[str | None] = mapped_column(Id)
    at: Mapped[datetime] = mapped_column(default=clock.now)

    order: Mapped[Order] = relationship(back_populates="history")


class Service(Base):
    """A service on the network. `characteristics` is what the customer wants; commands carry it to the element.

    `exclusive_key` is set on services that a customer can have only once, until they are terminated: the unique key
    decides which of two activations comes first.
    """

    __tablename__ = "services"
    __table_args__ = (
        Index("ix_services_user_id_id", "user_id", "id"),
        Index("ix_services_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), unique=True)
    user_id: Mapped[str] = mapped_column(Id)
    offering_id: Mapped[str] = mapped_column(Id)
    offering_code: Mapped[str] = mapped_column(String(64))
    offering_name: Mapped[str] = mapped_column(String(120))
    category: Mapped[Category] = mapped_column(enum_column(Category))
    element: Mapped[Element] = mapped_column(enum_column(Element))
    state: Mapped[ServiceState] = mapped_column(enum_column(ServiceState))
    exclusive_key: Mapped[str | None] = mapped_column(String(110), unique=True)
    characteristics: Mapped[dict[str, str]] = mapped_column(JSON)
    allowances: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    activated_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    deactivation_requested_at: Mapped[datetime | None]
    terminated_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    order: Mapped[Order] = relationship()

    @property
    def live(self) -> bool:
        return self.state in (ServiceState.ACTIVE, ServiceState.SUSPENDED)

    def activate(self, validity_days: int | None) -> None:
        """The element has switched it on: the validity begins now."""
        if self.state is not ServiceState.INACTIVE:
            raise WrongState(f"service {self.id}: activate while {self.state.value}")
        self.state, self.activated_at = ServiceState.ACTIVE, clock.now()
        if validity_days is not None:
            self.expires_at = self.activated_at + timedelta(days=validity_days)

    def change(self, characteristics: dict[str, str]) -> None:
        """Raises ServiceNotLive."""
        if self.state is not ServiceState.ACTIVE or self.deactivation_requested_at is not None:
            raise ServiceNotLive()
        self.characteristics = characteristics

    def suspend(self) -> None:
        """The element has blocked it."""
        if self.state is ServiceState.ACTIVE:
            self.state = ServiceState.SUSPENDED

    def restore(self) -> None:
        """The element lets it work again."""
        if self.state is ServiceState.SUSPENDED:
            self.state = ServiceState.ACTIVE

    def request_deactivation(self) -> bool:
        """Whether this asked for it now (False: it had been asked for). Raises ServiceNotLive."""
        if not self.live:
            raise ServiceNotLive(f"The service is {self.state.value}")
        if self.deactivation_requested_at is not None:
            return False
        self.deactivation_requested_at = clock.now()
        return True

    def terminate(self) -> None:
        """It is off, or never came to be; the customer may order it again."""
        if self.state is ServiceState.TERMINATED:
            raise WrongState(f"service {self.id}: terminated twice")
        self.state, self.terminated_at, self.exclusive_key = ServiceState.TERMINATED, clock.now(), None


class Command(Base):
    """Something that a network element has to be told, under an id that it knows a repetition by.

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
    action: Mapped[Action] = mapped_column(enum_column(Action))
    characteristics: Mapped[dict[str, str]] = mapped_column(JSON)
    previous: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    reason: Mapped[str] = mapped_column(String(200))
    state: Mapped[CommandState] = mapped_column(enum_column(CommandState), default=CommandState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=clock.now)
    settled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    service: Mapped[Service] = relationship()

    def claim(self, lease: timedelta) -> bool:
        """Whether it was due and is the caller's now, for the length of the lease."""
        if self.state is not CommandState.PENDING or self.due_at > clock.now():
            return False
        self.attempts += 1
        self.due_at = clock.now() + lease
        return True

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


class SimulatedAnswer(Base):
    """The memory of the simulated network elements: how each command was answered, so that a repetition is harmless."""

    __tablename__ = "simulated_answers"

    command_id: Mapped[str] = mapped_column(Id, primary_key=True)
    element: Mapped[str] = mapped_column(String(32))
    action: Mapped[str] = mapped_column(String(32))
    service_id: Mapped[str] = mapped_column(Id)
    refusal: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime] = mapped_column(default=clock.now)
