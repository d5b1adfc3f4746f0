"""Orders, from being placed to the network being told."""

import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from common.errors import NotFound
from common.messaging import Rejected
from common.money import Money
from provisioning import events
from provisioning.errors import OrderNotRetryable
from provisioning.models import (
    Action,
    Command,
    CommandState,
    Offering,
    OfferingState,
    Order,
    OrderState,
    Service,
    ServiceState,
)
from provisioning.use_cases.audit import Actor, record_act
from provisioning.use_cases.bundles import copy_parts
from provisioning.use_cases.characteristics import check_characteristics, specs_of
from provisioning.use_cases.commands import job_of, services_of, tell_element, unused
from provisioning.use_cases.eligibility import hold_customer, obstacles, paid_obstacle
from provisioning.use_cases.stock import return_stock, take_stock

_NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing in it is mistaken for something else on the phone."""


def place_order(
    session: Session,
    *,
    order_id: str,
    user_id: str,
    offering_id: str,
    characteristics: dict[str, str],
    starts_at: datetime | None = None,
) -> Order:
    """Order an offering as it is now; a free one goes to the network at once, or at `starts_at`.

    Raises NotFound, InvalidCharacteristics, ItemNotAvailable, or what `obstacles` found first; a lost race raises
    IntegrityError.
    """
    offering = session.get(Offering, offering_id)
    if offering is None or offering.state is not OfferingState.ACTIVE:
        raise NotFound("There is no such offering")
    specs = specs_of(offering)
    check_characteristics(session, specs, characteristics)
    hold_customer(session, user_id)
    for obstacle in obstacles(session, user_id=user_id, offering=offering):
        raise obstacle
    order = copy_offering(offering, order_id=order_id, user_id=user_id, characteristics=characteristics)
    order.starts_at = starts_at
    order.placed()
    session.add(order)
    order.characteristics = take_stock(session, order, specs, characteristics)
    copy_parts(session, offering, order)
    session.flush()
    session.add(events.order_created(order))
    if order.state is OrderState.ACKNOWLEDGED:
        _activate(session, order, barred=False)
    return order


def record_payment(session: Session, *, order_id: str, user_id: str, payment_id: str, amount: Money) -> None:
    """The order is paid: have it activated. Safe to repeat.

    Money that comes too late changes nothing here: payment gives it back on `order.cancelled`. Raises Rejected when the
    order is not there, not this customer's, or costs something else: payment lets none of these through.
    """
    order = _paid_order(session, order_id, user_id)
    if order.payment_id == payment_id:
        return
    if order.state is not OrderState.PENDING_PAYMENT:
        order.note(f"paid_while_{order.state.value}")
        return
    if amount != order.total:
        raise Rejected(f"order {order.number} costs {order.total}, paid was {amount}")
    order.acknowledge(payment_id)
    fulfil_order(session, order)


def fulfil_order(session: Session, order: Order) -> None:
    """Have an acknowledged order carried out; it fails when something came in between."""
    obstacle = _carry_out(session, order)
    if obstacle is not None:
        order.fail(obstacle)
        return_stock(session, order.id)
        session.add(events.order_failed(order, obstacle))


def _carry_out(session: Session, order: Order) -> str | None:
    customer = hold_customer(session, order.user_id)
    if customer.deactivated_at is not None:
        return "account_closed"
    if order.renews_service_id is not None:
        service = session.get_one(Service, order.renews_service_id, with_for_update=True)
        if not service.live or service.deactivation_requested_at is not None:
            return "service_ended"
        tell_element(session, service, Action.RENEW, "renewed", order=order)
        return None
    obstacle = paid_obstacle(session, order)
    if obstacle is None:
        _activate(session, order, barred=customer.barred)
    return obstacle


def record_payment_failure(session: Session, *, order_id: str, user_id: str, reason: str) -> None:
    """Keep in the history that a payment did not succeed; the order may still be paid."""
    _paid_order(session, order_id, user_id).note(f"payment_failed: {reason}")


def record_refund(session: Session, *, order_id: str, user_id: str) -> None:
    """Keep in the history that money went back."""
    _paid_order(session, order_id, user_id).note("refunded")


def cancel_order(session: Session, *, order_id: str, user_id: str) -> Order:
    """Cancel before the network is told; payment gives back what was paid. Raises NotFound, OrderNotCancellable."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None or order.user_id != user_id:
        raise NotFound()
    withdraw_order(session, order, "cancelled_by_customer")
    return order


def withdraw_order(session: Session, order: Order, reason: str) -> None:
    """Cancel an order that the caller has locked, with what it has put down so far. Raises OrderNotCancellable."""
    order.cancel(reason)
    if order.renews_service_id is not None:
        service = session.get_one(Service, order.renews_service_id, with_for_update=True)
        for command in pending_commands(session, service):
            if command.order_id == order.id:
                command.settle(CommandState.CANCELLED)
    for made in services_of(session, order):
        made.terminate()
        for command in pending_commands(session, made):
            command.settle(CommandState.CANCELLED)
    return_stock(session, order.id)
    session.add(events.order_cancelled(order, reason))


def expire_order(session: Session, *, order_id: str, before: datetime) -> None:
    """End an order that was placed before an instant and is still unpaid. Safe to repeat."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None or not order.unpaid_since(before):
        return
    order.expire()
    return_stock(session, order.id)
    session.add(events.order_cancelled(order, "expired"))


def retry_order(session: Session, *, order_id: str, actor: Actor) -> Order:
    """Tell the network again now instead of after the pause. Raises NotFound, OrderNotRetryable.

    A failed order is not tried again: its money has gone back.
    """
    order = session.get(Order, order_id, with_for_update=True)
    if order is None:
        raise NotFound()
    services = services_of(session, order)
    if order.renews_service_id is not None:
        services = [session.get_one(Service, order.renews_service_id, with_for_update=True)]
    pending = [command for service in services for command in pending_commands(session, service)]
    if order.state not in (OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS) or not pending:
        raise OrderNotRetryable(f"The order is {order.state.value}")
    for command in pending:
        if command.since > clock.now():
            raise OrderNotRetryable("Its time has not come")
        command.due_at = clock.now()
    order.note("retried_by_operator", actor_id=actor.user_id)
    record_act(session, actor, "order.retried", order.id, user_id=order.user_id, number=order.number)
    for service in services:
        wake(session, job_of(service.element))
    return order


def copy_offering(
    offering: Offering, *, order_id: str, user_id: str, characteristics: dict[str, str]
) -> Order:
    now = clock.now()
    return Order(
        id=order_id,
        number="ORD-" + "".join(secrets.choice(_NUMBER_ALPHABET) for _ in range(10)),
        user_id=user_id,
        offering_id=offering.id,
        offering_code=offering.code,
        offering_name=offering.name,
        category=offering.category,
        total_minor=offering.price_minor,
        currency=offering.currency,
        validity_days=offering.validity_days,
        recurring=offering.recurring,
        stackable=offering.stackable,
        element=offering.element,
        allowances=offering.allowances,
        characteristics=characteristics,
        created_at=now,
        updated_at=now,
    )


def _activate(session: Session, order: Order, *, barred: bool) -> None:
    """Put the services and the commands for their elements down; the worker carries them out."""
    later = order.starts_at if order.starts_at is not None and order.starts_at > clock.now() else None
    for part in order.parts:
        service = Service(
            order=order,
            user_id=order.user_id,
            offering_id=part.offering_id,
            offering_code=part.offering_code,
            offering_name=part.offering_name,
            category=part.category,
            element=part.element,
            state=ServiceState.INACTIVE,
            exclusive_key=None if part.stackable else _exclusive_key(order.user_id, part.offering_code),
            characteristics=part.characteristics,
            allowances=unused(part.allowances),
            renews=order.recurring and order.validity_days is not None,
        )
        tell_element(session, service, Action.ACTIVATE, "ordered", order=order, due_at=later)
        if barred:
            tell_element(session, service, Action.SUSPEND, "account_barred")


def _paid_order(session: Session, order_id: str, user_id: str) -> Order:
    """An order can be paid only after payment learnt of it from us, so one that is not here never comes."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None or order.user_id != user_id:
        raise Rejected(f"there is no order {order_id} of user {user_id}")
    return order


def _exclusive_key(user_id: str, offering_code: str) -> str:
    return f"{user_id}:{offering_code}"


def pending_commands(session: Session, service: Service) -> list[Command]:
    pending = select(Command).where(Command.service_id == service.id, Command.state == CommandState.PENDING)
    return list(session.scalars(pending.order_by(Command.id).with_for_update()))
