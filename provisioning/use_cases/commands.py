"""Commands to network elements: claimed, then (outside, by `jobs`) the call, then settled by its answer."""

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from provisioning import events
from provisioning.gateway import Answer, Call, Verdict
from provisioning.models import (
    Action,
    CallRules,
    Command,
    CommandAttempt,
    CommandState,
    Customer,
    Element,
    NetworkElement,
    Order,
    Service,
    ServiceState,
)
from provisioning.use_cases.stock import assign_stock, rest_stock, return_stock

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 300.0
REFUSED_PAUSE = timedelta(hours=1)
PART_PAUSE = timedelta(seconds=1)


class NotAdmitted(Exception):
    """The element may not be called now: it is held, its circuit is open, or its pace does not allow it."""


def job_of(element: Element) -> str:
    """The worker's job that talks to an element."""
    return f"element-{element.value}"


def tell_element(
    session: Session,
    service: Service,
    action: Action,
    reason: str,
    *,
    previous: dict[str, str] | None = None,
    order: Order | None = None,
    due_at: datetime | None = None,
) -> None:
    """Put down a command for the service's element; the worker carries out those of one service in their order.

    `order` is what it fulfils, `previous` what a refused change goes back to.
    """
    session.add(
        Command(
            service=service,
            order_id=order.id if order is not None else None,
            action=action,
            characteristics=service.characteristics,
            previous=previous,
            reason=reason,
            starts_at=due_at,
            due_at=due_at or clock.now(),
        )
    )
    session.flush()
    wake(session, job_of(service.element))


def claim_command(session: Session, *, command_id: str, rules: CallRules) -> Call | None:
    """What to tell the element, for the caller alone while the lease lasts; None when there is nothing to do (now).

    Raises NotAdmitted when the element may not be called now: the caller rolls back. All claims of an element queue on
    its row, so it is locked last, when all the rest is written.
    """
    held = _lock(session, command_id)
    command, service = held.command, held.service
    if not command.due:
        return None
    if service.state is ServiceState.TERMINATED and command.action not in (
        Action.DEACTIVATE,
        Action.RECONCILE,
    ):
        command.settle(CommandState.CANCELLED)
        if command.action is Action.RENEW and held.order is not None:
            held.order.fail("service_ended")
            session.add(events.order_failed(held.order, "service_ended"))
        return None
    if service.state is ServiceState.INACTIVE and command.action in (Action.SUSPEND, Action.RESTORE):
        command.try_again(after=PART_PAUSE)  # part of a bundle that waits for the others
        return None
    command.claim(rules.lease)
    if held.order is not None:
        held.order.start()
    session.add(CommandAttempt(command_id=command.id, number=command.attempts))
    customer = session.get(Customer, service.user_id)
    session.flush()
    if not _element(session, service.element).admit(rules):
        raise NotAdmitted(service.element.value)
    return Call(
        command_id=command.id,
        attempt=command.attempts,
        element=service.element,
        action=command.action,
        service_id=service.id,
        subscriber_id=service.user_id,
        msisdn=customer.phone if customer is not None else None,
        offering_code=service.offering_code,
        characteristics=command.characteristics,
        allowances={allowance["kind"]: allowance["granted"] for allowance in service.allowances},
        state=service.wanted_state,
    )


def settle_command(
    session: Session,
    *,
    command_id: str,
    attempt: int,
    answer: Answer,
    rules: CallRules,
    quarantine: timedelta,
) -> None:
    """Do what follows from an element's answer, once: a command that is settled stays as it is. Safe to repeat.

    `quarantine` is for the stock of a service that ends.
    """
    held = _lock(session, command_id)
    _end_attempt(session, command_id, attempt, answer)
    if answer.verdict is Verdict.FAILED:
        _element(session, held.service.element).failed(answer.reason, rules)
        if held.command.state is CommandState.PENDING and held.command.attempts == attempt:
            held.command.try_again(after=_pause(attempt))
        return
    _note_answer(session, held.service.element)
    done = answer.verdict is Verdict.DONE
    if not held.command.settle(CommandState.DONE if done else CommandState.REFUSED):
        return
    match held.command.action:
        case Action.ACTIVATE:
            _settle_activation(
                session, held, answer if not done else None, quarantine=quarantine, lease=rules.lease
            )
        case Action.CHANGE:
            _settle_change(held, done)
        case Action.SUSPEND | Action.RESTORE:
            _settle_barring(session, held, done)
        case Action.DEACTIVATE:
            _settle_deactivation(session, held, done, quarantine)
        case Action.RENEW:
            _settle_renewal(session, held, answer if not done else None)
        case Action.RECONCILE:
            _settle_reconciliation(session, held, done)


def give_up_order(
    session: Session, *, command_id: str, before: datetime, lease: timedelta, quarantine: timedelta
) -> None:
    """Fail the order of an activation or renewal that was to be carried out before an instant: its money goes back.

    Nobody knows whether one of the calls took effect, so the element is told to go back, after any call that is still
    on its way. Safe to repeat.
    """
    held = _lock(session, command_id)
    command, order = held.command, held.order
    if order is None or command.state is not CommandState.PENDING or command.since >= before:
        return
    order.fail("network_unavailable")
    session.add(events.order_failed(order, "network_unavailable"))
    if command.action is Action.ACTIVATE:
        _undo_parts(session, held, quarantine=quarantine, lease=lease)
    elif command.settle(CommandState.CANCELLED) and command.attempts:
        tell_element(session, held.service, Action.RECONCILE, "given_up", due_at=clock.now() + lease)


@dataclass(frozen=True)
class _Held:
    """A command with what its outcome changes, all locked. `order` only when it is about the order; `parts` are all the
    services that come with the command's."""

    order: Order | None
    service: Service
    command: Command
    parts: list[Service]


def _lock(session: Session, command_id: str) -> _Held:
    about = select(Command.action, Command.service_id, Command.order_id, Service.order_id).join(
        Command.service
    )
    action, service_id, order_id, first_order_id = session.execute(
        about.where(Command.id == command_id)
    ).one()
    if action is Action.ACTIVATE:
        order_id = first_order_id
    order = session.get_one(Order, order_id, with_for_update=True) if order_id is not None else None
    if action is Action.ACTIVATE and order is not None:
        parts = services_of(session, order)
        service = next(part for part in parts if part.id == service_id)
    else:
        service = session.get_one(Service, service_id, with_for_update=True)
        parts = [service]
    return _Held(order, service, session.get_one(Command, command_id, with_for_update=True), parts)


def services_of(session: Session, order: Order) -> list[Service]:
    """The services that an order has made, locked in their order."""
    made = select(Service).where(Service.order_id == order.id).order_by(Service.id)
    return list(session.scalars(made.with_for_update()))


def _element(session: Session, kind: Element) -> NetworkElement:
    return session.get_one(NetworkElement, kind, with_for_update=True)


def _note_answer(session: Session, kind: Element) -> None:
    """Most answers change nothing worth waiting for the element's row."""
    if session.get_one(NetworkElement, kind).answer_is_news:
        _element(session, kind).answered()


def _end_attempt(session: Session, command_id: str, number: int, answer: Answer) -> None:
    session.execute(
        update(CommandAttempt)
        .where(CommandAttempt.command_id == command_id, CommandAttempt.number == number)
        .values(
            ended_at=clock.now(),
            outcome=answer.reason or answer.verdict.value,
            detail=answer.detail[:500] or None,
        )
    )


def _settle_activation(
    session: Session, held: _Held, refusal: Answer | None, *, quarantine: timedelta, lease: timedelta
) -> None:
    """Of a bundle all parts are on together once the last one is, or none: nobody is told of a part before."""
    order = held.order
    assert order is not None
    if refusal is not None:
        _undo_parts(session, held, quarantine=quarantine, lease=lease)
        order.fail(refusal.reason)
        session.add(events.order_failed(order, refusal.reason))
        return
    if any(one.state is CommandState.PENDING for one in _activations(session, held)):
        return
    validity = {part.offering_code: part.validity_days for part in order.parts}
    order.complete()
    assign_stock(session, order.id)
    for service in held.parts:
        if service.state is ServiceState.INACTIVE:  # the account may have been closed meanwhile
            service.activate(validity[service.offering_code])
            session.add(events.service_activated(service, order))


def _undo_parts(session: Session, held: _Held, *, quarantine: timedelta, lease: timedelta) -> None:
    """None of an order's services comes to be: what an element may have switched on is switched off again, after any
    call that is still on its way."""
    assert held.order is not None
    for command in _activations(session, held):
        unknown = command.settle(CommandState.CANCELLED) and command.attempts > 0
        service = next(part for part in held.parts if part.id == command.service_id)
        if service.state is not ServiceState.TERMINATED:
            service.terminate()
        if command.attempts:
            rest_stock(session, service, quarantine)
        if unknown or command.state is CommandState.DONE:
            due_at = clock.now() + (lease if unknown else timedelta())
            tell_element(session, service, Action.DEACTIVATE, "given_up", due_at=due_at)
    return_stock(session, held.order.id)


def _activations(session: Session, held: _Held) -> list[Command]:
    """The activations of an order's services, locked."""
    if len(held.parts) == 1:
        return [held.command]
    ids = [part.id for part in held.parts]
    found = select(Command).where(Command.service_id.in_(ids), Command.action == Action.ACTIVATE)
    return list(session.scalars(found.order_by(Command.id).with_for_update()))


def _settle_renewal(session: Session, held: _Held, refusal: Answer | None) -> None:
    """A refused one leaves the service to end in its time."""
    order, service = held.order, held.service
    assert order is not None
    assert order.validity_days is not None
    if refusal is not None or not service.live:
        reason = refusal.reason if refusal is not None else "service_ended"
        order.fail(reason)
        session.add(events.order_failed(order, reason))
        return
    service.renew(order.validity_days, unused(order.allowances))
    order.complete()
    session.add(events.service_activated(service, order, renewed=True))


def unused(allowances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Allowances as they are granted."""
    return [{"kind": one["kind"], "granted": one["amount"], "used": 0} for one in allowances]


def _settle_change(held: _Held, done: bool) -> None:
    """A refused change is undone, unless the customer has changed it again meanwhile."""
    if not done and held.service.characteristics == held.command.characteristics:
        held.service.characteristics = held.command.previous or {}


def _settle_barring(session: Session, held: _Held, done: bool) -> None:
    suspends = held.command.action is Action.SUSPEND
    if not done:
        customer = session.get_one(Customer, held.service.user_id)
        _note_refusal(held, done)
        if customer.barred is suspends:
            _tell_again(session, held)
    elif suspends:
        held.service.suspend()
    else:
        held.service.restore()


def _settle_deactivation(session: Session, held: _Held, done: bool, quarantine: timedelta) -> None:
    _note_refusal(held, done)
    if not done:
        _tell_again(session, held)
    elif held.service.state is not ServiceState.TERMINATED:
        held.service.terminate()
        rest_stock(session, held.service, quarantine)
        if (
            held.service.activated_at is not None
        ):  # of the part of a bundle that never came to be nobody was told
            session.add(events.service_deactivated(held.service, held.command.reason))


def _settle_reconciliation(session: Session, held: _Held, done: bool) -> None:
    _note_refusal(held, done)
    if not done:
        _tell_again(session, held)


def _tell_again(session: Session, held: _Held) -> None:
    """What an element refuses but must do is told again later, as a new command: to the old one it would repeat its
    answer for ever. Until then the refusal is kept, counted and alerted of."""
    later = clock.now() + REFUSED_PAUSE
    tell_element(session, held.service, held.command.action, held.command.reason, due_at=later)


def _note_refusal(held: _Held, done: bool) -> None:
    if not done:
        log.error(
            "%s refuses to %s service %s",
            held.service.element.value,
            held.command.action.value,
            held.service.id,
        )


def _pause(attempt: int) -> timedelta:
    """Doubling from half a second to five minutes, with jitter so that an element that comes back is not overrun."""
    seconds = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 16))
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter, not a secret)
