"""Commands claimed."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from provisioning import events
from provisioning.gateway import Call
from provisioning.models import (
    Action,
    CallRules,
    CommandAttempt,
    CommandState,
    Customer,
    Element,
    ServiceState,
)
from provisioning.use_cases.commands.held import Held, hold_commands, hold_element

PART_PAUSE = timedelta(seconds=1)


def claim_commands(
    session: Session, *, element: Element, command_ids: Sequence[str], rules: CallRules
) -> list[Call]:
    """What to tell the element, for the caller alone while the lease lasts: those of the commands that are still due,
    as many as the element's pace and circuit let through. What another transaction is at work on is left for later.

    All claims of an element queue on its row, so it is locked last, when all the rest is known.
    """
    held = hold_commands(session, command_ids, skip_locked=True)
    ready = [held[one] for one in command_ids if one in held and _is_ready(session, held[one])]
    if not ready:
        return []
    subscribers = {one.service.user_id for one in ready}
    known = select(Customer).where(Customer.user_id.in_(subscribers))
    phones = {customer.user_id: customer.phone for customer in session.scalars(known)}
    admitted = hold_element(session, element).admit(rules, len(ready))
    return [_claim(session, one, phones.get(one.service.user_id), rules) for one in ready[:admitted]]


def _is_ready(session: Session, held: Held) -> bool:
    """Whether the element is to be told now. What has become needless is cancelled."""
    command, service = held.command, held.service
    if not command.due:
        return False
    if service.state is ServiceState.TERMINATED and command.action not in (
        Action.DEACTIVATE,
        Action.RECONCILE,
    ):
        command.settle(CommandState.CANCELLED)
        if command.action is Action.RENEW and held.order is not None:
            held.order.fail("service_ended")
            session.add(events.order_failed(held.order, "service_ended"))
        return False
    if service.state is ServiceState.INACTIVE and command.action in (Action.SUSPEND, Action.RESTORE):
        command.try_again(after=PART_PAUSE)  # part of a bundle that waits for the others
        return False
    return True


def _claim(session: Session, held: Held, msisdn: str | None, rules: CallRules) -> Call:
    command, service = held.command, held.service
    command.claim(rules.lease)
    if held.order is not None:
        held.order.start()
    session.add(CommandAttempt(command_id=command.id, number=command.attempts))
    return Call(
        command_id=command.id,
        attempt=command.attempts,
        element=service.element,
        action=command.action,
        service_id=service.id,
        subscriber_id=service.user_id,
        msisdn=msisdn,
        offering_code=service.offering_code,
        characteristics=command.characteristics,
        allowances={allowance["kind"]: allowance["granted"] for allowance in service.allowances},
        state=service.wanted_state,
    )
