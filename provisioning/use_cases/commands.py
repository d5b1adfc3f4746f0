"""Commands to network elements: claimed, then (outside, by `jobs`) the call, then settled by its answer."""

import logging
import random
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from provisioning import events
from provisioning.gateway import Answer, Call, Verdict
from provisioning.models import (
    Action,
    Command,
    CommandAttempt,
    CommandState,
    Customer,
    Order,
    Service,
    ServiceState,
)

log = logging.getLogger(__name__)

COMMANDS_JOB = "activations"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 300.0


def tell_element(
    session: Session,
    service: Service,
    action: Action,
    reason: str,
    *,
    previous: dict[str, str] | None = None,
) -> None:
    """Put down a command for the service's element; the worker carries out those of one service in their order.

    `previous` is what a refused change goes back to.
    """
    session.add(
        Command(
            service=service,
            action=action,
            characteristics=service.characteristics,
            previous=previous,
            reason=reason,
            due_at=clock.now(),
        )
    )
    session.flush()
    wake(session, COMMANDS_JOB)


def claim_command(session: Session, *, command_id: str, lease: timedelta) -> Call | None:
    """What to tell the element, for the caller alone while the lease lasts; None when there is nothing to do (now)."""
    held = _lock(session, command_id)
    if not held.command.claim(lease):
        return None
    command, service = held.command, held.service
    if service.state is ServiceState.TERMINATED:
        command.settle(CommandState.CANCELLED)
        return None
    if held.order is not None:
        held.order.start()
    session.add(CommandAttempt(command_id=command.id, number=command.attempts))
    customer = session.get(Customer, service.user_id)
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
    )


def settle_command(session: Session, *, command_id: str, attempt: int, answer: Answer) -> None:
    """Do what follows from an element's answer, once: a command that is settled stays as it is. Safe to repeat."""
    held = _lock(session, command_id)
    _end_attempt(session, command_id, attempt, answer)
    if answer.verdict is Verdict.FAILED:
        if held.command.state is CommandState.PENDING and held.command.attempts == attempt:
            held.command.try_again(after=_pause(attempt))
        return
    done = answer.verdict is Verdict.DONE
    if not held.command.settle(CommandState.DONE if done else CommandState.REFUSED):
        return
    match held.command.action:
        case Action.ACTIVATE:
            _settle_activation(session, held, answer if not done else None)
        case Action.CHANGE:
            _settle_change(held, done)
        case Action.SUSPEND | Action.RESTORE:
            _settle_barring(held, done)
        case Action.DEACTIVATE:
            _settle_deactivation(session, held, done)


@dataclass(frozen=True)
class _Held:
    """A command with what its outcome changes, all locked. `order` only when it is about the order."""

    order: Order | None
    service: Service
    command: Command


def _lock(session: Session, command_id: str) -> _Held:
    about = select(Command.action, Command.service_id, Service.order_id).join(Command.service)
    action, service_id, order_id = session.execute(about.where(Command.id == command_id)).one()
    order = session.get_one(Order, order_id, with_for_update=True) if action is Action.ACTIVATE else None
    service = session.get_one(Service, service_id, with_for_update=True)
    return _Held(order, service, session.get_one(Command, command_id, with_for_update=True))


def _end_attempt(session: Session, command_id: str, number: int, answer: Answer) -> None:
    attempt = session.get_one(CommandAttempt, (command_id, number))
    attempt.ended_at = clock.now()
    attempt.outcome = answer.reason or answer.verdict.value
    attempt.detail = answer.detail[:500] or None


def _settle_activation(session: Session, held: _Held, refusal: Answer | None) -> None:
    assert held.order is not None
    if refusal is not None:
        held.service.terminate()
        held.order.fail(refusal.reason)
        session.add(events.order_failed(held.order, refusal.reason))
        return
    held.service.activate(held.order.validity_days)
    held.order.complete()
    session.add(events.service_activated(held.service))


def _settle_change(held: _Held, done: bool) -> None:
    """A refused change is undone, unless the customer has changed it again meanwhile."""
    if not done and held.service.characteristics == held.command.characteristics:
        held.service.characteristics = held.command.previous or {}


def _settle_barring(held: _Held, done: bool) -> None:
    if not done:
        log.error("element refuses to %s service %s", held.command.action.value, held.service.id)
    elif held.command.action is Action.SUSPEND:
        held.service.suspend()
    else:
        held.service.restore()


def _settle_deactivation(session: Session, held: _Held, done: bool) -> None:
    if not done:
        log.error("element refuses to switch off service %s", held.service.id)
        return
    held.service.terminate()
    session.add(events.service_deactivated(held.service, held.command.reason))


def _pause(attempt: int) -> timedelta:
    """Doubling from half a second to five minutes, with jitter so that an element that comes back is not overrun."""
    seconds = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 16))
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter, not a secret)
