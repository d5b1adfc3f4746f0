"""Live services."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from common import clock, ids
from common.db import Id, enum_column
from provisioning.errors import ServiceNotLive
from provisioning.models.base import Base, Category, Element, WrongState
from provisioning.models.orders import Order


class ServiceState(StrEnum):
    INACTIVE = "inactive"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class Service(Base):
    """A service on the network. `characteristics` is what the customer wants; commands carry it to the element.

    `renews` says whether it is prolonged before it ends, `renewal_order_id` is the order that will do it, `warned_days`
    the last warning of its end that was given. `exclusive_key` is set on services that a customer can have only once,
    until they are terminated: the unique key decides which of two activations comes first.
    """

    __tablename__ = "services"
    __table_args__ = (
        Index("ix_services_user_id_id", "user_id", "id"),
        Index("ix_services_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), index=True)
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
    renews: Mapped[bool] = mapped_column(default=False, server_default=false())
    renewal_order_id: Mapped[str | None] = mapped_column(Id)
    warned_days: Mapped[int | None]
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

    @property
    def wanted_state(self) -> str:
        """What its element should have: `active`, `suspended` or `absent`."""
        return self.state.value if self.live else "absent"

    def activate(self, validity_days: int | None) -> None:
        """The element has switched it on: the validity begins now."""
        if self.state is not ServiceState.INACTIVE:
            raise WrongState(f"service {self.id}: activate while {self.state.value}")
        self.state, self.activated_at = ServiceState.ACTIVE, clock.now()
        if validity_days is not None:
            self.expires_at = self.activated_at + timedelta(days=validity_days)

    def ends_within(self, time: timedelta) -> bool:
        """Whether it is on, nobody has asked to switch it off, and its validity ends within so long."""
        ends = self.expires_at is not None and self.expires_at <= clock.now() + time
        return self.live and self.deactivation_requested_at is None and ends

    def show_used(self, kind: str, used: int, *, until: datetime | None) -> None:
        """So much of an allowance is used, as billing counts it. News of an earlier validity, or less than is known
        already, changes nothing."""
        if until == self.expires_at:
            self.allowances = [
                {**one, "used": max(one["used"], min(used, one["granted"]))} if one["kind"] == kind else one
                for one in self.allowances
            ]

    def lasts_at_most(self, time: timedelta) -> bool:
        """Whether its whole validity is no longer than that."""
        if self.expires_at is None or self.activated_at is None:
            return False
        return self.expires_at - self.activated_at <= time

    def renew(self, validity_days: int, allowances: list[dict[str, Any]]) -> None:
        """The element has prolonged it: the new validity follows the old one, with fresh allowances."""
        if not self.live or self.expires_at is None:
            raise WrongState(f"service {self.id}: renew while {self.state.value}")
        self.expires_at = max(self.expires_at, clock.now()) + timedelta(days=validity_days)
        self.allowances, self.renewal_order_id, self.warned_days = allowances, None, None

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

    def end_with_account(self) -> None:
        """Whatever it is, it is to be switched off: on the way to being on, too."""
        if self.state is not ServiceState.TERMINATED and self.deactivation_requested_at is None:
            self.deactivation_requested_at = clock.now()

    def terminate(self) -> None:
        """It is off, or never came to be; the customer may order it again."""
        if self.state is ServiceState.TERMINATED:
            raise WrongState(f"service {self.id}: terminated twice")
        self.state, self.terminated_at, self.exclusive_key = ServiceState.TERMINATED, clock.now(), None
