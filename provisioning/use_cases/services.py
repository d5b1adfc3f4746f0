"""Live services: changed and switched off, by way of their elements."""

from sqlalchemy.orm import Session

from common.errors import NotFound
from provisioning.models import Action, Offering, Service
from provisioning.use_cases.catalogue import check_characteristics
from provisioning.use_cases.commands import tell_element
from provisioning.use_cases.orders import specs_of


def change_service(
    session: Session, *, service_id: str, user_id: str, characteristics: dict[str, str]
) -> Service:
    """Set some of the characteristics, as the catalogue allows today; the element is told by the worker.

    Raises NotFound, InvalidCharacteristics, ServiceNotLive.
    """
    service = _own(session, service_id, user_id)
    offering = session.get_one(Offering, service.offering_id)
    check_characteristics(specs_of(offering), characteristics, only_changes=True)
    previous = service.characteristics
    service.change({**previous, **characteristics})
    if service.characteristics != previous:
        tell_element(session, service, Action.CHANGE, "changed_by_customer", previous=previous)
    return service


def deactivate_service(session: Session, *, service_id: str, user_id: str) -> Service:
    """Have a service switched off. Safe to repeat until it is off. Raises NotFound, ServiceNotLive."""
    service = _own(session, service_id, user_id)
    if service.request_deactivation():
        tell_element(session, service, Action.DEACTIVATE, "deactivated_by_customer")
    return service


def end_validity(session: Session, *, service_id: str) -> None:
    """Have a service switched off whose time is over. Safe to repeat."""
    service = session.get_one(Service, service_id, with_for_update=True)
    if service.live and service.request_deactivation():
        tell_element(session, service, Action.DEACTIVATE, "expired")


def _own(session: Session, service_id: str, user_id: str) -> Service:
    service = session.get(Service, service_id, with_for_update=True)
    if service is None or service.user_id != user_id:
        raise NotFound()
    return service
