"""What staff read."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from common import clock
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from provisioning.models import (
    TOLD_AGAIN,
    AdminAct,
    Command,
    CommandAttempt,
    CommandState,
    Element,
    NetworkElement,
    Offering,
    OfferingState,
    Order,
    OrderState,
    Service,
    StockFault,
    StockImport,
    StockItem,
    StockKind,
    StockState,
)
from provisioning.queries.work import PENDING


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
    waiting = _commands_by_element(session, Command.state == PENDING)
    refused = _commands_by_element(
        session,
        Command.state == CommandState.REFUSED,
        Command.action.in_(TOLD_AGAIN),
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


def list_commands(
    session: Session,
    *,
    state: CommandState | None,
    element: Element | None,
    user_id: str | None,
    query: PageQuery,
) -> Page[Any]:
    """What elements were told, or are to be: rows of (command, element, customer, the last attempt or None)."""
    last = and_(CommandAttempt.command_id == Command.id, CommandAttempt.number == Command.attempts)
    wanted = (
        select(Command.id, Command, Service.element, Service.user_id, CommandAttempt)
        .join(Command.service)
        .outerjoin(CommandAttempt, last)
    )
    if state is not None:
        wanted = wanted.where(Command.state == state)
    if element is not None:
        wanted = wanted.where(Service.element == element)
    if user_id is not None:
        wanted = wanted.where(Service.user_id == user_id)
    return fetch_page(session, wanted, Command.id, query, scalars=False)


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


def list_deliveries(session: Session, query: PageQuery) -> Page[StockImport]:
    return fetch_page(session, select(StockImport), StockImport.id, query)


def get_delivery(
    session: Session, import_id: str, after_line: int
) -> tuple[StockImport, Sequence[StockFault]]:
    """A delivery with up to a hundred of its faults. Raises NotFound."""
    delivery = session.get(StockImport, import_id)
    if delivery is None:
        raise NotFound()
    faults = select(StockFault).where(StockFault.import_id == import_id, StockFault.line > after_line)
    return delivery, session.scalars(faults.order_by(StockFault.line).limit(100)).all()


def list_acts(session: Session, query: PageQuery) -> Page[AdminAct]:
    return fetch_page(session, select(AdminAct), AdminAct.id, query)


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
