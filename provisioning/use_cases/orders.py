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
from provisioning.errors import AlreadyActive, KycRequired, OrderNotRetryable
from provisioning.models import (
    Action,
    Command,
    CommandState,
    Customer,
    Offering,
    OfferingState,
    Order,
    OrderState,
    Service,
    ServiceState,
)
from provisioning.schemas import CharacteristicSpec
from provisioning.use_cases.catalogue import check_characteristics
from provisioning.use_cases.commands import job_of, tell_element

_NUMBER_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: nothing in it is mistaken for something else on the phone."""


def place_order(
    session: Session, *, order_id: str, user_id: str, offering_id: str, characteristics: dict[str, str]
) -> Order:
    """Order an offering as it is now; a free one goes to the network at once.

    Raises NotFound, InvalidCharacteristics, KycRequired, AlreadyActive; a lost race raises IntegrityError.
    """
    offering = session.get(Offering, offering_id)
    if offering is None or offering.state is not OfferingState.ACTIVE:
        raise NotFound("There is no such offering")
    check_characteristics(specs_of(offering), characteristics)
    if offering.requires_kyc:
        customer = session.get(Customer, user_id)
        if customer is None or customer.kyc_approved_at is None:
            raise KycRequired()
    if not offering.stackable and _has_one(session, user_id, offering.code):
        raise AlreadyActive()
    order = _copy(offering, order_id=order_id, user_id=user_id, characteristics=characteristics)
    order.placed()
    session.add(order)
    session.flush()
    session.add(events.order_created(order))
    if order.state is OrderState.ACKNOWLEDGED:
        _activate(session, order)
    return order


def specs_of(offering: Offering) -> list[CharacteristicSpec]:
    return [CharacteristicSpec.model_validate(spec, strict=False) for spec in offering.characteristics]


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
    if not order.stackable and _has_one(session, user_id, order.offering_code):
        order.fail("already_active")
        session.add(events.order_failed(order, "already_active"))
        return
    _activate(session, order)


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
    order.cancel("cancelled_by_customer")
    service = _service_of(session, order)
    if service is not None:
        service.terminate()
        for command in _pending_commands(session, service):
            command.settle(CommandState.CANCELLED)
    session.add(events.order_cancelled(order, "cancelled_by_customer"))
    return order


def expire_order(session: Session, *, order_id: str, before: datetime) -> None:
    """End an order that was placed before an instant and is still unpaid. Safe to repeat."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None or order.state is not OrderState.PENDING_PAYMENT or order.created_at >= before:
        return
    order.expire()
    session.add(events.order_cancelled(order, "expired"))


def retry_order(session: Session, *, order_id: str, actor_id: str) -> Order:
    """Tell the network again now instead of after the pause. Raises NotFound, OrderNotRetryable.

    A failed order is not tried again: its money has gone back.
    """
    order = session.get(Order, order_id, with_for_update=True)
    if order is None:
        raise NotFound()
    service = _service_of(session, order)
    pending = _pending_commands(session, service) if service is not None else []
    if order.state not in (OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS) or not pending:
        raise OrderNotRetryable(f"The order is {order.state.value}")
    for command in pending:
        command.due_at = clock.now()
    order.note("retried_by_operator", actor_id=actor_id)
    wake(session, job_of(order.element))
    return order


def _copy(offering: Offering, *, order_id: str, user_id: str, characteristics: dict[str, str]) -> Order:
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


def _activate(session: Session, order: Order) -> None:
    """Put the service and the command for its element down; the worker carries it out."""
    service = Service(
        order=order,
        user_id=order.user_id,
        offering_id=order.offering_id,
        offering_code=order.offering_code,
        offering_name=order.offering_name,
        category=order.category,
        element=order.element,
        state=ServiceState.INACTIVE,
        exclusive_key=None if order.stackable else _exclusive_key(order.user_id, order.offering_code),
        characteristics=order.characteristics,
        allowances=[{"kind": a["kind"], "granted": a["amount"], "used": 0} for a in order.allowances],
    )
    tell_element(session, service, Action.ACTIVATE, "ordered")
    customer = session.get(Customer, order.user_id, with_for_update=True)
    if customer is not None and customer.barred:
        tell_element(session, service, Action.SUSPEND, "account_barred")


def _paid_order(session: Session, order_id: str, user_id: str) -> Order:
    """An order can be paid only after payment learnt of it from us, so one that is not here never comes."""
    order = session.get(Order, order_id, with_for_update=True)
    if order is None or order.user_id != user_id:
        raise Rejected(f"there is no order {order_id} of user {user_id}")
    return order


def _has_one(session: Session, user_id: str, offering_code: str) -> bool:
    held = select(Service.id).where(Service.exclusive_key == _exclusive_key(user_id, offering_code))
    return session.scalar(held) is not None


def _exclusive_key(user_id: str, offering_code: str) -> str:
    return f"{user_id}:{offering_code}"


def _service_of(session: Session, order: Order) -> Service | None:
    return session.scalar(select(Service).where(Service.order_id == order.id).with_for_update())


def _pending_commands(session: Session, service: Service) -> list[Command]:
    pending = select(Command).where(Command.service_id == service.id, Command.state == CommandState.PENDING)
    return list(session.scalars(pending.order_by(Command.id).with_for_update()))
