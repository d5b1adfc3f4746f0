"""What staff send and get."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.db import PageQuery
from common.ids import UUID_PATTERN
from common.schemas import Body
from provisioning.models import (
    Action,
    AdminAct,
    Command,
    CommandAttempt,
    CommandState,
    Element,
    ImportState,
    Offering,
    OfferingState,
    Order,
    StockFault,
    StockImport,
    StockItem,
    StockKind,
    StockState,
)
from provisioning.schemas.sales import OfferingOut, OrderOut, OrdersQuery, order_fields


class AdminOfferingOut(OfferingOut):
    state: OfferingState
    stackable: bool
    element: Element
    requires: list[str]
    excludes: list[str]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, offering: Offering) -> Self:
        return cls(
            **OfferingOut.of(offering).model_dump(),
            state=offering.state,
            stackable=offering.stackable,
            element=offering.element,
            requires=offering.requires,
            excludes=offering.excludes,
            created_at=offering.created_at,
            updated_at=offering.updated_at,
        )


class AdminOfferingsQuery(PageQuery):
    state: OfferingState | None = None


class ElementOut(BaseModel):
    """A network element as it is called now."""

    element: Element
    held: bool
    circuit: Literal["closed", "open", "half_open"]
    failures: int = Field(description="in a row")
    open_until: datetime | None
    answered_at: datetime | None
    failed_at: datetime | None
    failure: str | None
    pending: int = Field(description="commands that wait, or are under way")
    refused: int = Field(
        description="within a day, of those that it must carry out: suspend, restore, deactivate, reconcile"
    )


class ElementsOut(BaseModel):
    items: list[ElementOut]


class CommandsQuery(PageQuery):
    state: CommandState | None = None
    element: Element | None = None
    user_id: str | None = Field(default=None, pattern=f"^{UUID_PATTERN}$")


class CommandOut(BaseModel):
    """Something that an element was told, or is to be. `outcome` and `detail` are of the last attempt: `done`, or why
    it was refused or failed."""

    id: str
    element: Element
    user_id: str
    service_id: str
    order_id: str | None
    action: Action
    reason: str
    state: CommandState
    attempts: int
    outcome: str | None
    detail: str | None
    due_at: datetime | None
    settled_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        command: Command = row.Command
        last: CommandAttempt | None = row.CommandAttempt
        return cls(
            id=command.id,
            element=row.element,
            user_id=row.user_id,
            service_id=command.service_id,
            order_id=command.order_id,
            action=command.action,
            reason=command.reason,
            state=command.state,
            attempts=command.attempts,
            outcome=last.outcome if last is not None else None,
            detail=last.detail if last is not None else None,
            due_at=command.due_at if command.state is CommandState.PENDING else None,
            settled_at=command.settled_at,
            created_at=command.created_at,
        )


class HoldIn(Body):
    held: bool


class AdminActOut(BaseModel):
    id: str
    actor_id: str
    action: str
    target: str
    user_id: str | None
    detail: dict[str, Any]
    ip: str
    at: datetime

    @classmethod
    def of(cls, act: AdminAct) -> Self:
        return cls.model_validate(act, from_attributes=True)


class AdminOrdersQuery(OrdersQuery):
    user_id: str | None = Field(default=None, pattern=f"^{UUID_PATTERN}$")
    number: str | None = Field(default=None, max_length=20, description="the order's human number")


class AdminOrderOut(OrderOut):
    user_id: str

    @classmethod
    def of(cls, order: Order) -> Self:
        return cls(**order_fields(order), user_id=order.user_id)


UserId = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$")]


class StockQuery(PageQuery):
    state: StockState | None = None
    value: str | None = Field(
        default=None, max_length=22, description="one number or ICCID, digits without the plus"
    )

    @field_validator("value")
    @classmethod
    def _plus(cls, value: str | None) -> str | None:
        """A plus in a query string is a blank; a number is found with or without it."""
        if value is None:
            return None
        digits = value.strip().removeprefix("+")
        return digits if digits.startswith("89") and len(digits) >= 18 else f"+{digits}"


class ImportIn(Body):
    csv: str = Field(min_length=1, max_length=1_000_000, description="a value per line, in the first column")


class LineFault(BaseModel):
    line: int
    value: str
    message: str


class FaultsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after_line: int = Field(default=0, ge=0, le=10**9, description="errors of the lines after this one")


class ImportOut(BaseModel):
    """A delivery: `read` of its `lines` so far. `errors` are up to a hundred of the `faulty` lines, after the one that
    was named."""

    id: str
    kind: StockKind
    state: ImportState
    lines: int
    read: int
    added: int
    known: int
    faulty: int
    errors: list[LineFault]
    created_at: datetime

    @classmethod
    def of(cls, delivery: StockImport, faults: Sequence[StockFault] = ()) -> Self:
        return cls(
            id=delivery.id,
            kind=delivery.kind,
            state=delivery.state,
            lines=delivery.lines,
            read=delivery.read,
            added=delivery.added,
            known=delivery.known,
            faulty=delivery.faulty,
            errors=[LineFault(line=one.line, value=one.value, message=one.message) for one in faults],
            created_at=delivery.created_at,
        )


class SubscriberIn(Body):
    user_id: UserId


class ReservationIn(SubscriberIn):
    minutes: int = Field(default=30, ge=1, le=7 * 24 * 60)


class StockItemOut(BaseModel):
    id: str
    kind: StockKind
    value: str
    state: StockState
    user_id: str | None
    until: datetime | None = Field(description="when a reservation or a quarantine is over")

    @classmethod
    def of(cls, item: StockItem) -> Self:
        free = item.state_now is StockState.AVAILABLE
        return cls(
            id=item.id,
            kind=item.kind,
            value=item.value,
            state=item.state_now,
            user_id=None if free else item.user_id,
            until=None if free else item.until,
        )
