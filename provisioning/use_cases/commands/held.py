"""Commands locked together with what their outcome changes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import BindParameter, Select, bindparam, case, or_, select
from sqlalchemy.orm import Session

from provisioning.models import Action, Command, Element, NetworkElement, Order, Service

T = TypeVar("T", Order, Service, Command)


def _in_order(which: Select[T], model: type[T]) -> dict[bool, Select[T]]:
    """A statement that locks in the order of ids: waiting for what is locked (False), or leaving it out (True)."""
    ordered = which.order_by(model.id)
    return {skip: ordered.with_for_update(skip_locked=skip) for skip in (False, True)}


_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_ORDER_IDS: BindParameter[str] = bindparam("order_ids", expanding=True)
_ABOUT = (
    select(
        Command.id,
        Command.action,
        Command.service_id,
        case((Command.action == Action.ACTIVATE, Service.order_id), else_=Command.order_id).label("order_id"),
    )
    .join(Command.service)
    .where(Command.id.in_(_IDS))
)
_ORDERS = _in_order(select(Order).where(Order.id.in_(_IDS)), Order)
_SERVICES = _in_order(
    select(Service).where(or_(Service.id.in_(_IDS), Service.order_id.in_(_ORDER_IDS))), Service
)
_COMMANDS = _in_order(select(Command).where(Command.id.in_(_IDS)), Command)


@dataclass(frozen=True)
class Held:
    """A command with what its outcome changes, all locked. `order` only when it is about the order; `parts` are all the
    services that come with the command's."""

    order: Order | None
    service: Service
    command: Command
    parts: list[Service]


def hold_commands(
    session: Session, command_ids: Collection[str], *, skip_locked: bool = False
) -> dict[str, Held]:
    """Commands by their ids: four statements, however many they are. With `skip_locked` those are left out that
    another transaction is at work on."""
    about = session.execute(_ABOUT, {"ids": list(command_ids)}).all()
    order_ids = [row.order_id for row in about if row.order_id is not None]
    orders = _locked(session, _ORDERS, {"ids": order_ids}, skip_locked)
    about = [row for row in about if row.order_id is None or row.order_id in orders]
    wanted = {
        "ids": [row.service_id for row in about],
        "order_ids": [row.order_id for row in about if row.action is Action.ACTIVATE],
    }
    services = _locked(session, _SERVICES, wanted, skip_locked)
    about = [row for row in about if row.service_id in services]
    commands = _locked(session, _COMMANDS, {"ids": [row.id for row in about]}, skip_locked)
    held = {}
    for row in about:
        if row.id in commands:
            parts = [services[row.service_id]]
            if row.action is Action.ACTIVATE:
                parts = [one for one in services.values() if one.order_id == row.order_id]
            order = orders.get(row.order_id)
            held[row.id] = Held(order, services[row.service_id], commands[row.id], parts)
    return held


def services_of(session: Session, order: Order) -> list[Service]:
    """The services that an order has made, locked in their order."""
    return list(_locked(session, _SERVICES, {"ids": [], "order_ids": [order.id]}).values())


def hold_element(session: Session, kind: Element) -> NetworkElement:
    """What is known of an element at this moment, locked: last of all, since all its calls queue here."""
    return session.get_one(NetworkElement, kind, with_for_update=True, populate_existing=True)


def _locked(
    session: Session, of: Mapping[bool, Select[T]], wanted: Mapping[str, list[str]], skip: bool = False
) -> dict[str, T]:
    return {row.id: row for row in session.scalars(of[skip], wanted)}
