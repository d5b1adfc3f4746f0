"""Stock: numbers and SIM cards, from delivery to a subscriber and back."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from provisioning.errors import ItemNotAvailable
from provisioning.models.base import Base


class StockKind(StrEnum):
    MSISDN = "msisdn"
    SIM = "sim"


class ImportState(StrEnum):
    WAITING = "waiting"
    DONE = "done"


class StockState(StrEnum):
    AVAILABLE = "available"
    RESERVED = "reserved"
    ASSIGNED = "assigned"
    QUARANTINED = "quarantined"


class StockItem(Base):
    """A number (E.164) or a SIM card (ICCID). Once its reservation or quarantine is over it is available.

    What an order takes (`order_id`) is reserved without an end, assigned with its service, and given back with the
    order or the service: staff cannot take it away.
    """

    __tablename__ = "stock_items"
    __table_args__ = (
        Index("ix_stock_items_kind_state_id", "kind", "state", "id"),
        Index("ix_stock_items_user_id", "user_id"),
        Index("ix_stock_items_order_id", "order_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    kind: Mapped[StockKind] = mapped_column(enum_column(StockKind))
    value: Mapped[str] = mapped_column(String(22), unique=True)
    state: Mapped[StockState] = mapped_column(enum_column(StockState), default=StockState.AVAILABLE)
    user_id: Mapped[str | None] = mapped_column(Id)
    order_id: Mapped[str | None] = mapped_column(Id)
    until: Mapped[datetime | None]
    import_id: Mapped[str] = mapped_column(ForeignKey("stock_imports.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    @property
    def state_now(self) -> StockState:
        """What it is at this moment, with what time has changed."""
        waits = self.state in (StockState.RESERVED, StockState.QUARANTINED)
        over = waits and self.until is not None and self.until <= clock.now()
        return StockState.AVAILABLE if over else self.state

    def reserve(self, user_id: str, time: timedelta) -> None:
        """For one customer, for so long; theirs may be prolonged. Raises ItemNotAvailable."""
        self._check_for(user_id)
        self.state, self.user_id, self.until = StockState.RESERVED, user_id, clock.now() + time

    def take(self, user_id: str, order_id: str) -> None:
        """For a customer's order, until that ends. Raises ItemNotAvailable."""
        self._check_for(user_id)
        self.state, self.user_id, self.until = StockState.RESERVED, user_id, None
        self.order_id = order_id

    def go_live(self) -> None:
        """The service of the order that took it is on."""
        self.state = StockState.ASSIGNED

    def give_back(self, quarantine: timedelta | None) -> None:
        """Its order or service has ended; what the network knew of rests before somebody else gets it."""
        self.state, self.until = StockState.AVAILABLE, None
        if quarantine is not None:
            self.state, self.until = StockState.QUARANTINED, clock.now() + quarantine
        self.user_id = self.order_id = None

    def assign(self, user_id: str) -> None:
        """To a customer who has reserved it, or if nobody has. Safe to repeat. Raises ItemNotAvailable."""
        self._check_unordered()
        if self.state_now is not StockState.AVAILABLE and self.user_id != user_id:
            raise ItemNotAvailable(f"It is {self.state_now.value}")
        if self.state_now is StockState.QUARANTINED:
            raise ItemNotAvailable("It is quarantined")
        self.state, self.user_id, self.until = StockState.ASSIGNED, user_id, None

    def release(self, quarantine: timedelta) -> None:
        """Given back: a reserved one at once, an assigned one after its quarantine. Raises ItemNotAvailable."""
        self._check_unordered()
        if self.state_now is StockState.RESERVED:
            self.state, self.user_id, self.until = StockState.AVAILABLE, None, None
        elif self.state is StockState.ASSIGNED:
            self.state, self.user_id = StockState.QUARANTINED, None
            self.until = clock.now() + quarantine
        else:
            raise ItemNotAvailable(f"It is {self.state_now.value}")

    def _check_for(self, user_id: str) -> None:
        self._check_unordered()
        theirs = self.state_now is StockState.RESERVED and self.user_id == user_id
        if self.state_now is not StockState.AVAILABLE and not theirs:
            raise ItemNotAvailable(f"It is {self.state_now.value}")

    def _check_unordered(self) -> None:
        if self.order_id is not None:
            raise ItemNotAvailable("It belongs to an order")


class StockImport(Base):
    """A delivery: how many of its lines have been read, and what became of them. `text` is what is left to read from,
    nothing once it is done."""

    __tablename__ = "stock_imports"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[StockKind] = mapped_column(enum_column(StockKind))
    state: Mapped[ImportState] = mapped_column(
        enum_column(ImportState), default=ImportState.WAITING, server_default=ImportState.DONE
    )
    text: Mapped[str | None] = mapped_column(Text)
    read: Mapped[int] = mapped_column(default=0, server_default="0")
    lines: Mapped[int]
    added: Mapped[int] = mapped_column(default=0)
    known: Mapped[int] = mapped_column(default=0)
    faulty: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    def count(self, *, read: int, added: int, faulty: int) -> None:
        """So many further lines have been read; after the last one it is done."""
        self.read += read
        self.added += added
        self.faulty += faulty
        self.known += read - added - faulty
        if self.read >= self.lines:
            self.state, self.text = ImportState.DONE, None


class StockFault(Base):
    """A line of a delivery that could not be taken."""

    __tablename__ = "stock_faults"

    import_id: Mapped[str] = mapped_column(ForeignKey("stock_imports.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(String(60))
    message: Mapped[str] = mapped_column(String(100))
