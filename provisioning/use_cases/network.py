"""Network elements: held and released by the operator, and asked whether they have what we believe."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.db import wake
from provisioning.gateway import Found, Sight
from provisioning.models import Action, Command, CommandState, Element, NetworkElement, Service
from provisioning.use_cases.audit import Actor, record_act
from provisioning.use_cases.commands import job_of, tell_element


@dataclass(frozen=True)
class Drift:
    """A service that its element has otherwise than we believe."""

    service_id: str
    user_id: str
    element: Element
    believed: str
    found: str


def hold_element(session: Session, *, kind: Element, held: bool, actor: Actor) -> NetworkElement:
    """Call an element no more, or again: its commands wait meanwhile."""
    element = session.get_one(NetworkElement, kind, with_for_update=True)
    if element.held is not held:
        element.held = held
        record_act(session, actor, "network_element.held" if held else "network_element.released", kind.value)
        if not held:
            wake(session, job_of(kind))
    return element


def drift_of(service: Service, sight: Sight) -> Drift | None:
    """How an element's word differs from ours; None when it does not, or could not be asked."""
    believed = service.wanted_state
    same = sight.state.value == believed and (
        sight.state is Found.ABSENT or sight.characteristics == service.characteristics
    )
    if same or sight.state is Found.UNKNOWN:
        return None
    found = sight.state.value if sight.state.value != believed else "other characteristics"
    return Drift(service.id, service.user_id, service.element, believed, found)


def repair_drift(session: Session, drift: Drift) -> bool:
    """Have the element told what we believe; False when the service is being changed anyway."""
    service = session.get_one(Service, drift.service_id, with_for_update=True)
    pending = select(Command.id).where(
        Command.service_id == service.id, Command.state == CommandState.PENDING
    )
    if session.scalar(pending.limit(1)) is not None:
        return False
    tell_element(session, service, Action.RECONCILE, f"drift: {drift.found}")
    return True
