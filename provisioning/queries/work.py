"""What the worker and the operator's commands look for."""

from datetime import datetime, timedelta

from sqlalchemy import Integer, and_, bindparam, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from common import clock
from provisioning.models import (
    Action,
    CallRules,
    Command,
    CommandState,
    Element,
    ImportState,
    NetworkElement,
    Order,
    OrderState,
    Service,
    ServiceState,
    StockImport,
)

_EARLIER = aliased(Command)
PENDING = literal(CommandState.PENDING.value, literal_execute=True)
_UNPAID = literal(OrderState.PENDING_PAYMENT.value, literal_execute=True)
"""Written out in the statement, so that the partial indexes serve it."""


def services_to_audit(session: Session, after: str, since: datetime, limit: int) -> list[Service]:
    """Services in the order of their ids that are live, or were terminated since an instant, and of which no command is
    pending."""
    pending = select(Command.id).where(Command.service_id == Service.id, Command.state == PENDING).exists()
    wanted = select(Service).where(
        Service.id > after,
        or_(Service.state.in_((ServiceState.ACTIVE, ServiceState.SUSPENDED)), Service.terminated_at >= since),
        ~pending,
    )
    return list(session.scalars(wanted.order_by(Service.id).limit(limit)))


_NOW = bindparam("now", type_=Command.due_at.type)
_HOLDS_UP = (
    select(_EARLIER.id)
    .where(
        _EARLIER.service_id == Command.service_id,
        _EARLIER.id < Command.id,
        _EARLIER.state == PENDING,
        or_(_EARLIER.starts_at.is_(None), _EARLIER.starts_at <= _NOW, _EARLIER.action == Action.ACTIVATE),
    )
    .exists()
)
_DUE = (
    select(Command.id)
    .join(Command.service)
    .where(
        Command.state == PENDING, Command.due_at <= _NOW, Service.element == bindparam("element"), ~_HOLDS_UP
    )
    .order_by(Command.due_at, Command.id)
    .limit(bindparam("most", type_=Integer))
)


def due_commands(
    session: Session, element: Element, rules: CallRules, limit: int
) -> tuple[list[str], timedelta]:
    """Ids of an element's commands to be carried out now, longest due first, never two of one service; and how long its
    pace makes them wait: half a burst of them if there are so many, since one claim for several costs little more than
    one for one. None while the element is held or its circuit is open. What is only to be told again later holds up
    nothing."""
    known = session.get_one(NetworkElement, element)
    if known.closed_to_calls:
        return [], timedelta()
    wanted = {"element": element, "now": clock.now(), "most": limit}
    found = list(session.scalars(_DUE, wanted))
    return found, known.wait(rules, max(1, min(len(found), rules.burst // 2)))


def overdue_commands(session: Session, before: datetime, limit: int) -> list[str]:
    """Ids of activations and renewals that were to be carried out before an instant."""
    since = func.coalesce(Command.starts_at, Command.created_at)
    late = select(Command.id).where(
        Command.state == PENDING, Command.action.in_((Action.ACTIVATE, Action.RENEW)), since < before
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


def next_delivery(session: Session) -> str | None:
    """The id of the oldest delivery that is not wholly read."""
    waiting = select(StockImport.id).where(StockImport.state == ImportState.WAITING)
    return session.scalar(waiting.order_by(StockImport.id).limit(1))
