"""Reads of provisioning. The hot lists are Core selects of columns, made once, serialised without models."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, func, literal, or_, select
from sqlalchemy.orm import Session, aliased, selectinload

from common import clock
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from provisioning.models import (
    Action,
    AdminAct,
    CallRules,
    Category,
    Command,
    CommandState,
    Element,
    NetworkElement,
    Offering,
    OfferingState,
    Order,
    OrderState,
    Service,
    ServiceState,
    StockItem,
    StockKind,
    StockState,
)

_EARLIER = aliased(Command)
_PENDING = literal(CommandState.PENDING.value, literal_execute=True)
_UNPAID = literal(OrderState.PENDING_PAYMENT.value, literal_execute=True)
"""Written out in the statement, so that the partial indexes serve it."""
_OFFERING: tuple[Any, ...] = (
    Offering.id, Offering.code, Offering.name, Offering.description, Offering.category, Offering.price_minor,
    Offering.currency, Offering.validity_days, Offering.recurring, Offering.requires_kyc,
    Offering.characteristics, Offering.allowances,
)  # fmt: skip
_OFFERINGS: Select[Any] = select(*_OFFERING).where(Offering.state == OfferingState.ACTIVE)
_ORDER: tuple[Any, ...] = (
    Order.id, Order.number, Order.state, Order.offering_id, Order.offering_code, Order.offering_name,
    Order.category, Order.characteristics, Order.total_minor, Order.currency, Order.starts_at,
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


def list_all_offerings(session: Session, state: OfferingState | None, query: PageQuery) -> Page[Offering]:
    wanted = select(Offering)
    return fetch_page(
        session,
        wanted if state is None else wanted.where(Offering.state == state),
        Offering.id,
        query,
    )


def get_any_offering(session: Session, offering_id: str) -> Offering:
    """Also a draft or a retired one. Raises NotFound."""
    offering = session.get(Offering, offering_id)
    if offering is None:
        raise NotFound()
    return offering


def list_elements(session: Session) -> list[dict[str, Any]]:
    """Every network element, as `ElementOut` has it."""
    waiting = _commands_by_element(session, Command.state == _PENDING)
    refused = _commands_by_element(
        session,
        Command.state == CommandState.REFUSED,
        Command.settled_at > clock.now() - timedelta(days=1),
    )
    return [
        {
            "element": one.element,
            "held": one.held,
            "circuit": "closed"
            if one.open_until is None
            else "open"
            if one.open_until > clock.now()
            else "half_open",
            "failures": one.failures,
            "open_until": one.open_until,
            "answered_at": one.answered_at,
            "failed_at": one.failed_at,
            "failure": one.failure,
            "pending": waiting.get(one.element, 0),
            "refused": refused.get(one.element, 0),
        }
        for one in session.scalars(select(NetworkElement).order_by(NetworkElement.element))
    ]


def _commands_by_element(session: Session, *which: Any) -> dict[Element, int]:
    counted = select(Service.element, func.count()).join(Command.service).where(*which)
    rows = session.execute(counted.group_by(Service.element)).all()
    return {row[0]: row[1] for row in rows}


def services_to_audit(session: Session, after: str, since: datetime, limit: int) -> list[Service]:
    """Services in the order of their ids that are live, or were terminated since an instant, and of which no command is
    pending."""
    pending = select(Command.id).where(Command.service_id == Service.id, Command.state == _PENDING).exists()
    wanted = select(Service).where(
        Service.id > after,
        or_(Service.state.in_((ServiceState.ACTIVE, ServiceState.SUSPENDED)), Service.terminated_at >= since),
        ~pending,
    )
    return list(session.scalars(wanted.order_by(Service.id).limit(limit)))


def list_stock(
    session: Session, kind: StockKind, *, state: StockState | None, value: str | None, query: PageQuery
) -> Page[StockItem]:
    """Items of a pool that are in a state now, or the one of a value."""
    wanted = select(StockItem).where(StockItem.kind == kind)
    if value is not None:
        wanted = wanted.where(StockItem.value == value)
    if state is not None:
        waits = StockItem.state.in_((StockState.RESERVED, StockState.QUARANTINED))
        over = and_(waits, StockItem.until <= clock.now())
        if state is StockState.AVAILABLE:
            wanted = wanted.where(or_(StockItem.state == state, over))
        else:
            wanted = wanted.where(StockItem.state == state, or_(~waits, StockItem.until > clock.now()))
    return fetch_page(session, wanted, StockItem.id, query)


def list_acts(session: Session, query: PageQuery) -> Page[AdminAct]:
    return fetch_page(session, select(AdminAct), AdminAct.id, query)


def list_orders(
    session: Session, user_id: str, state: OrderState | None, query: PageQuery
) -> Page[dict[str, Any]]:
    """A customer's orders, as `OrderOut` has them."""
    wanted = _ORDERS.where(Order.user_id == user_id)
    if state is not None:
        wanted = wanted.where(Order.state == state)
    return _page(session, wanted, Order.id, query, _order_item)


def list_all_orders(
    session: Session, *, user_id: str | None, state: OrderState | None, number: str | None, query: PageQuery
) -> Page[Order]:
    """Orders of all customers that fit."""
    wanted = select(Order)
    if user_id is not None:
        wanted = wanted.where(Order.user_id == user_id)
    if state is not None:
        wanted = wanted.where(Order.state == state)
    if number is not None:
        wanted = wanted.where(Order.number == number.upper())
    return fetch_page(session, wanted, Order.id, query)


def get_order(session: Session, order_id: str, user_id: str) -> Order:
    """A customer's order with its history. Raises NotFound."""
    order = session.get(Order, order_id, options=[selectinload(Order.history)])
    if order is None or order.user_id != user_id:
        raise NotFound()
    return order


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


def due_commands(
    session: Session, element: Element, rules: CallRules, limit: int
) -> tuple[list[str], int, timedelta]:
    """Ids of an element's commands to be carried out now, longest due first, never two of one service; how many of them
    its pace lets through at this moment, and how long it makes the next one wait. None while the element is held or
    its circuit is open."""
    known = session.get_one(NetworkElement, element)
    if known.closed_to_calls:
        return [], 0, timedelta()
    earlier = (
        select(_EARLIER.id)
        .where(
            _EARLIER.service_id == Command.service_id,
            _EARLIER.id < Command.id,
            _EARLIER.state == _PENDING,
        )
        .exists()
    )
    due = (
        select(Command.id)
        .join(Command.service)
        .where(Command.state == _PENDING, Command.due_at <= clock.now(), Service.element == element)
    )
    found = session.scalars(due.where(~earlier).order_by(Command.due_at, Command.id).limit(limit))
    return list(found), known.calls_now(rules), known.wait(rules)


def overdue_commands(session: Session, before: datetime, limit: int) -> list[str]:
    """Ids of activations and renewals that were to be carried out before an instant."""
    since = func.coalesce(Command.starts_at, Command.created_at)
    late = select(Command.id).where(
        Command.state == _PENDING, Command.action.in_((Action.ACTIVATE, Action.RENEW)), since < before
    )
    return list(session.scalars(late.order_by(Command.id).limit(limit)))


def unpaid_orders(session: Session, before: datetime, limit: int) -> list[str]:
    """Ids of orders that still wait for their money, though placed before an instant or over their own time."""
    late = or_(
        and_(Order.pay_by.is_(None), Order.created_at < before),
        Order.pay_by <= clock.now(),
    )
    waiting = select(Order.id).where(Order.state == _UNPAID, late)
    return list(session.scalars(waiting.order_by(Order.created_at).limit(limit)))


def services_near_their_end(session: Session, within: timedelta, days: int, limit: int) -> list[str]:
    """Ids of live services that end within so long and whose customers have not been warned of so few days."""
    near = select(Service.id).where(
        Service.expires_at > clock.now(),
        Service.expires_at <= clock.now() + within,
        Service.state.in_((ServiceState.ACTIVE, ServiceState.SUSPENDED)),
        Service.deactivation_requested_at.is_(None),
        or_(Service.warned_days.is_(None), Service.warned_days > days),
    )
    return list(session.scalars(near.order_by(Service.expires_at).limit(limit)))


def services_past_validity(session: Session, limit: int) -> list[str]:
    """Ids of live services whose time is over and which nobody has asked to switch off yet."""
    over = select(Service.id).where(
        Service.expires_at <= clock.now(),
        Service.state.in_((ServiceState.ACTIVE, ServiceState.SUSPENDED)),
        Service.deactivation_requested_at.is_(None),
    )
    return list(session.scalars(over.order_by(Service.expires_at).limit(limit)))


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
        "total": {"amount_minor": row.total_minor, "currency": row.currency},
        "starts_at": row.starts_at,
        "renews_service_id": row.renews_service_id,
        "payment_id": row.payment_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
