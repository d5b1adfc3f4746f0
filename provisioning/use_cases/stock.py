"""Stock that orders take: reserved with the order, live with its service, resting after it."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from common import clock
from provisioning.errors import ItemNotAvailable, OutOfStock
from provisioning.models import Order, Service, StockItem, StockKind, StockState
from provisioning.schemas import CharacteristicSpec
from provisioning.use_cases.characteristics import STOCK


def in_stock(session: Session, kind: StockKind, user_id: str) -> bool:
    """Whether the customer could have an item of a kind."""
    return session.scalar(select(StockItem.id).where(_free_for(kind, user_id)).limit(1)) is not None


def take_stock(
    session: Session, order: Order, specs: list[CharacteristicSpec], given: dict[str, str]
) -> dict[str, str]:
    """The given characteristics with the items of stock that the order has now; what it does not name is picked.

    Raises ItemNotAvailable, OutOfStock.
    """
    taken = dict(given)
    for spec in specs:
        kind = STOCK.get(spec.type)
        if kind is None or not (spec.required or spec.name in given):
            continue
        item = _find(session, kind, order.user_id, given.get(spec.name))
        item.take(order.user_id, order.id)
        taken[spec.name] = item.value
    return taken


def assign_stock(session: Session, order_ids: Collection[str]) -> None:
    """The orders' services are on."""
    for item in _of_orders(session, order_ids):
        item.go_live()


def return_stock(session: Session, order_id: str) -> None:
    """The order has ended before the network was told: others may have its items at once."""
    for item in _of_orders(session, [order_id]):
        item.give_back(None)


def rest_stock(session: Session, service: Service, quarantine: timedelta) -> None:
    """The service has ended, or was refused: what the network knew of rests."""
    for item in _of_orders(session, [service.order_id]):
        if item.value in service.characteristics.values():
            item.give_back(quarantine)


def _find(session: Session, kind: StockKind, user_id: str, value: str | None) -> StockItem:
    if value is not None:
        named = select(StockItem).where(StockItem.kind == kind, StockItem.value == value)
        item = session.scalar(named.with_for_update())
        if item is None:
            raise ItemNotAvailable("There is no such item")
        return item
    free = (
        select(StockItem).where(_free_for(kind, user_id)).order_by(StockItem.user_id.is_(None), StockItem.id)
    )
    item = session.scalar(free.limit(1).with_for_update(skip_locked=True))
    if item is None:
        raise OutOfStock()
    return item


def _free_for(kind: StockKind, user_id: str) -> ColumnElement[bool]:
    """Available now, or reserved for the customer and for no order."""
    waits = StockItem.state.in_((StockState.RESERVED, StockState.QUARANTINED))
    return and_(
        StockItem.kind == kind,
        StockItem.order_id.is_(None),
        or_(
            StockItem.state == StockState.AVAILABLE,
            and_(waits, StockItem.until <= clock.now()),
            and_(StockItem.state == StockState.RESERVED, StockItem.user_id == user_id),
        ),
    )


def _of_orders(session: Session, order_ids: Collection[str]) -> list[StockItem]:
    theirs = select(StockItem).where(StockItem.order_id.in_(order_ids)).order_by(StockItem.id)
    return list(session.scalars(theirs.with_for_update()))
