"""Orders and their history."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, WriteOnlyMapped, mapped_column, relationship

from common import clock, ids
from common.db import Id, enum_column
from common.money import Money
from provisioning.errors import OrderNotCancellable
from provisioning.models.base import Base, Category, Element, WrongState


class OrderState(StrEnum):
    PENDING_PAYMENT = "pending_payment"
    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Part:
    """What one service of an order is to be, as the offering was when the order was placed."""

    offering_id: str
    offering_code: str
    offering_name: str
    category: Category
    element: Element
    validity_days: int | None
    stackable: bool
    allowances: list[dict[str, Any]]
    characteristics: dict[str, str]


PART_FIELDS = tuple(field.name for field in fields(Part))


class Order(Base):
    """A customer's order with its own copy of what the offering was when it was placed.

    `renews_service_id` is the service that it prolongs; without it the order makes a service of its own, from
    `starts_at` on if that is set; the order of a bundle makes one of each part in `bundled`, all or none.
    """

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
    bundled: Mapped[list[dict[str, Any]]] = mapped_column(JSON, server_default="[]", default=list)
    starts_at: Mapped[datetime | None]
    renews_service_id: Mapped[str | None] = mapped_column(Id)
    pay_by: Mapped[datetime | None]
    payment_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    history: WriteOnlyMapped["OrderChange"] = relationship(order_by="OrderChange.id", back_populates="order")

    @property
    def total(self) -> Money:
        return Money(amount_minor=self.total_minor, currency=self.currency)

    @property
    def parts(self) -> list[Part]:
        """What it makes services of: itself, or the parts of its bundle."""
        if self.bundled:
            return [
                Part(**{**part, "category": Category(part["category"]), "element": Element(part["element"])})
                for part in self.bundled
            ]
        return [Part(**{name: getattr(self, name) for name in PART_FIELDS})]

    @property
    def came_to_nothing(self) -> bool:
        return self.state in (OrderState.FAILED, OrderState.CANCELLED, OrderState.EXPIRED)

    def bundle(self, parts: list[Part]) -> None:
        """Its own copy of the offerings that it is made of."""
        self.bundled = [asdict(part) for part in parts]

    def placed(self) -> None:
        """First state: priced orders wait for their money."""
        paid = self.total_minor == 0
        self.state = OrderState.ACKNOWLEDGED if paid else OrderState.PENDING_PAYMENT
        self.note("placed" if self.renews_service_id is None else "renewal_due")

    def unpaid_since(self, before: datetime) -> bool:
        """Whether its time for being paid is over; `before` is for orders that have no time of their own."""
        if self.state is not OrderState.PENDING_PAYMENT:
            return False
        return self.pay_by <= clock.now() if self.pay_by is not None else self.created_at < before

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
        self.history.add(
            OrderChange(state=self.state, reason=reason[:200], actor_id=actor_id, at=clock.now())
        )

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
