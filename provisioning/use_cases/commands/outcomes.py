"""Commands settled, by what their elements answered or because they were given up."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from common import clock
from provisioning import events
from provisioning.gateway import Answer, Verdict
from provisioning.models import (
    Action,
    CallRules,
    Command,
    CommandAttempt,
    CommandState,
    Customer,
    Element,
    NetworkElement,
    ServiceState,
)
from provisioning.use_cases.commands.held import Held, hold_commands, hold_element
from provisioning.use_cases.commands.telling import tell_element
from provisioning.use_cases.stock import assign_stock, rest_stock, return_stock

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 300.0
REFUSED_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Answered:
    """What an element answered to an attempt at a command."""

    command_id: str
    attempt: int
    answer: Answer


def settle_commands(
    session: Session,
    answered: Sequence[Answered],
    *,
    element: Element,
    rules: CallRules,
    quarantine: timedelta,
) -> None:
    """Do what follows from an element's answers, each once: a command that is settled stays as it is. Safe to repeat.

    `quarantine` is for the stock of a service that ends.
    """
    held = hold_commands(session, {one.command_id for one in answered})
    for one in answered:
        _settle(session, held[one.command_id], one, rules, quarantine)
    with session.no_autoflush:
        on = [one for one in held.values() if one.command.action is Action.ACTIVATE and one.service.live]
        assign_stock(session, {one.service.order_id for one in on})
        _end_attempts(session, answered)
        _note_answers(session, element, answered, rules)


def _settle(session: Session, held: Held, one: Answered, rules: CallRules, quarantine: timedelta) -> None:
    answer, done = one.answer, one.answer.verdict is Verdict.DONE
    if answer.verdict is Verdict.FAILED:
        if held.command.state is CommandState.PENDING and held.command.attempts == one.attempt:
            held.command.try_again(after=_pause(one.attempt))
        return
    if not held.command.settle(CommandState.DONE if done else CommandState.REFUSED):
        return
    match held.command.action:
        case Action.ACTIVATE:
            _settle_activation(
                session, held, answer if not done else None, quarantine=quarantine, lease=rules.lease
            )
        case Action.CHANGE:
            _settle_change(session, held, done)
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
    held = hold_commands(session, [command_id])[command_id]
    command, order = held.command, held.order
    if order is None or command.state is not CommandState.PENDING or command.since >= before:
        return
    order.fail("network_unavailable")
    session.add(events.order_failed(order, "network_unavailable"))
    if command.action is Action.ACTIVATE:
        _undo_parts(session, held, quarantine=quarantine, lease=lease)
    elif command.settle(CommandState.CANCELLED) and command.attempts:
        tell_element(session, held.service, Action.RECONCILE, "given_up", due_at=clock.now() + lease)


def _note_answers(session: Session, kind: Element, answered: Sequence[Answered], rules: CallRules) -> None:
    """How calling the element goes. Most answers change nothing worth waiting for its row."""
    failed = any(one.answer.verdict is Verdict.FAILED for one in answered)
    if not failed and not session.get_one(NetworkElement, kind).answer_is_news:
        return
    element = hold_element(session, kind)
    for one in answered:
        if one.answer.verdict is Verdict.FAILED:
            element.failed(one.answer.reason, rules)
        else:
            element.answered()


def _end_attempts(session: Session, answered: Sequence[Answered]) -> None:
    session.execute(
        update(CommandAttempt),
        [
            {
                "command_id": one.command_id,
                "number": one.attempt,
                "ended_at": clock.now(),
                "outcome": one.answer.reason or one.answer.verdict.value,
                "detail": one.answer.detail[:500] or None,
            }
            for one in answered
        ],
    )


def _settle_activation(
    session: Session, held: Held, refusal: Answer | None, *, quarantine: timedelta, lease: timedelta
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
    for service in held.parts:
        if service.state is ServiceState.INACTIVE:  # the account may have been closed meanwhile
            service.activate(validity[service.offering_code])
            session.add(events.service_activated(service, order))


def _undo_parts(session: Session, held: Held, *, quarantine: timedelta, lease: timedelta) -> None:
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


def _activations(session: Session, held: Held) -> list[Command]:
    """The activations of an order's services, locked."""
    if len(held.parts) == 1:
        return [held.command]
    ids = [part.id for part in held.parts]
    found = select(Command).where(Command.service_id.in_(ids), Command.action == Action.ACTIVATE)
    return list(session.scalars(found.order_by(Command.id).with_for_update()))


def _settle_renewal(session: Session, held: Held, refusal: Answer | None) -> None:
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


def _settle_change(session: Session, held: Held, done: bool) -> None:
    """A refused change is undone. If the customer has changed it again meanwhile, that one goes back to what was before
    both when it is refused too."""
    if done:
        return
    if held.service.characteristics == held.command.characteristics:
        held.service.characteristics = held.command.previous or {}
    later = select(Command).where(
        Command.service_id == held.service.id,
        Command.action == Action.CHANGE,
        Command.state == CommandState.PENDING,
    )
    for command in session.scalars(later.with_for_update()):
        if command.previous == held.command.characteristics:
            command.previous = held.command.previous


def _settle_barring(session: Session, held: Held, done: bool) -> None:
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


def _settle_deactivation(session: Session, held: Held, done: bool, quarantine: timedelta) -> None:
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


def _settle_reconciliation(session: Session, held: Held, done: bool) -> None:
    _note_refusal(held, done)
    if not done:
        _tell_again(session, held)


def _tell_again(session: Session, held: Held) -> None:
    """What an element refuses but must do is told again later, as a new command: to the old one it would repeat its
    answer for ever. Until then the refusal is kept, counted and alerted of."""
    later = clock.now() + REFUSED_PAUSE
    tell_element(session, held.service, held.command.action, held.command.reason, due_at=later)


def _note_refusal(held: Held, done: bool) -> None:
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
