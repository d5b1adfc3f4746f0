"""Commands put down."""

from datetime import datetime

from sqlalchemy.orm import Session

from common import clock
from common.db import wake
from provisioning.models import Action, Command, Element, Order, Service


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
