"""What customers read. The hot lists are Core selects of columns, made once, serialised without models."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from provisioning.models import (
    Category,
    Offering,
    OfferingState,
    Order,
    OrderChange,
    OrderState,
    Service,
    ServiceState,
)

_OFFERING: tuple[Any, ...] = (
    Offering.id, Offering.code, Offering.name, Offering.description, Offering.category, Offering.price_minor,
    Offering.currency, Offering.validity_days, Offering.recurring, Offering.requires_kyc,
    Offering.characteristics, Offering.allowances, Offering.bundles,
)  # fmt: skip
_OFFERINGS: Select[Any] = select(*_OFFERING).where(Offering.state == OfferingState.ACTIVE)
_ORDER: tuple[Any, ...] = (
    Order.id, Order.number, Order.state, Order.offering_id, Order.offering_code, Order.offering_name,
    Order.category, Order.characteristics, Order.bundled, Order.total_minor, Order.currency, Order.starts_at,
    Order.renews_service_id, Order.payment_id,
    Order.created_at, Order.updated_at,
)  # fmt: skip
_ORDERS: Select[Any] = select(*_ORDER)


def list_offerings(session: Session, category: Category | None, query: PageQuery) -> Page[dict[str, Any]]:
    """The public catalogue, as `OfferingOut` has it."""
    wanted = _OFFERINGS if category is None else _OFFERINGS.where(Offering.category == category)
    return _page(session, wanted, Offering.id, query, _offering_item)


def get_offering(session: Session, offering_id: str) -> Offering:
    """An offering that can be ordered. Raises NotFound."""
    offering = session.get(Offering, offering_id)
    if offering is None or offering.state is not OfferingState.ACTIVE:
        raise NotFound()
    return offering


def list_orders(
    session: Session, user_id: str, state: OrderState | None, query: PageQuery
) -> Page[dict[str, Any]]:
    """A customer's orders, as `OrderOut` has them."""
    wanted = _ORDERS.where(Order.user_id == user_id)
    if state is not None:
        wanted = wanted.where(Order.state == state)
    return _page(session, wanted, Order.id, query, _order_item)


def get_order(session: Session, order_id: str, user_id: str) -> Order:
    """A customer's order. Raises NotFound."""
    order = session.get(Order, order_id)
    if order is None or order.user_id != user_id:
        raise NotFound()
    return order


def history_of(session: Session, order: Order) -> Sequence[OrderChange]:
    """What became of an order, oldest first; with what this session has noted."""
    session.flush()
    return session.scalars(order.history.select()).all()


def list_services(
    session: Session, user_id: str, state: ServiceState | None, query: PageQuery
) -> Page[Service]:
    wanted = select(Service).where(Service.user_id == user_id)
    if state is not None:
        wanted = wanted.where(Service.state == state)
    return fetch_page(session, wanted, Service.id, query)


def get_service(session: Session, service_id: str, user_id: str) -> Service:
    """Raises NotFound."""
    service = session.get(Service, service_id)
    if service is None or service.user_id != user_id:
        raise NotFound()
    return service


def _page(
    session: Session, wanted: Select[Any], key: Any, query: PageQuery, item: Any
) -> Page[dict[str, Any]]:
    page = fetch_page(session, wanted, key, query, scalars=False)
    return Page([item(row) for row in page.items], page.next_cursor)


def _offering_item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "code": row.code,
        "name": row.name,
        "description": row.description,
        "category": row.category,
        "price": {"amount_minor": row.price_minor, "currency": row.currency},
        "validity_days": row.validity_days,
        "recurring": row.recurring,
        "requires_kyc": row.requires_kyc,
        "characteristics": row.characteristics,
        "allowances": row.allowances,
        "bundles": row.bundles,
    }


def _order_item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.number,
        "state": row.state,
        "offering": {
            "id": row.offering_id,
            "code": row.offering_code,
            "name": row.offering_name,
            "category": row.category,
        },
        "characteristics": row.characteristics,
        "parts": [
            {
                "id": part["offering_id"],
                "code": part["offering_code"],
                "name": part["offering_name"],
                "category": part["category"],
            }
            for part in row.bundled
        ],
        "total": {"amount_minor": row.total_minor, "currency": row.currency},
        "starts_at": row.starts_at,
        "renews_service_id": row.renews_service_id,
        "payment_id": row.payment_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
