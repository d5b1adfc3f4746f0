"""Live services: changed and switched off, by way of their elements."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from common.ids import new_id
from provisioning import events
from provisioning.errors import ServiceNotLive, ServiceNotRenewable
from provisioning.models import Action, Offering, OfferingState, Order, OrderState, Service
from provisioning.use_cases.characteristics import check_characteristics, specs_of
from provisioning.use_cases.commands import tell_element
from provisioning.use_cases.eligibility import hold_customer
from provisioning.use_cases.orders import (
    copy_offering,
    fulfil_order,
    pending_commands,
    withdraw_order,
)


def change_service(
    session: Session,
    *,
    service_id: str,
    user_id: str,
    characteristics: dict[str, str] | None,
    renews: bool | None = None,
) -> Service:
    """Set some of the characteristics, as the catalogue allows today (the element is told by the worker), and whether
    the service renews. Only what is given changes.

    Raises NotFound, InvalidCharacteristics, ServiceNotLive, ServiceNotRenewable.
    """
    renewal = _lock_renewal(session, service_id)
    service = _own(session, service_id, user_id)
    if not service.live or service.deactivation_requested_at is not None:
        raise ServiceNotLive()
    if renews is not None:
        _set_renewal(session, service, renewal, renews)
    if characteristics is not None:
        offering = session.get_one(Offering, service.offering_id)
        check_characteristics(session, specs_of(offering), characteristics, only_changes=True)
        previous = service.characteristics
        service.change({**previous, **characteristics})
        if service.characteristics != previous:
            tell_element(session, service, Action.CHANGE, "changed_by_customer", previous=previous)
    return service


def deactivate_service(session: Session, *, service_id: str, user_id: str) -> Service:
    """Have a service switched off. Safe to repeat until it is off. Raises NotFound, ServiceNotLive."""
    renewal = _lock_renewal(session, service_id)
    service = _own(session, service_id, user_id)
    if service.request_deactivation():
        if renewal is not None and renewal.state is OrderState.PENDING_PAYMENT:
            withdraw_order(session, renewal, "service_switched_off")
        tell_element(session, service, Action.DEACTIVATE, "deactivated_by_customer")
    return service


def near_end(session: Session, *, service_id: str, days: int, within: timedelta) -> None:
    """Tell the customer once that a service ends within so many days, with the order that prolongs it.

    The order is placed at the price of today; a free service is prolonged without a word. Of a service that lasts no
    longer than that altogether nobody is warned: its customer knows. Safe to repeat.
    """
    renewal = _lock_renewal(session, service_id)
    hold_customer(session, session.scalars(select(Service.user_id).where(Service.id == service_id)).one())
    service = session.get_one(Service, service_id, with_for_update=True)
    if not service.ends_within(within) or (service.warned_days is not None and service.warned_days <= days):
        return
    quiet = service.lasts_at_most(within)
    service.warned_days = days
    if service.renews and service.renewal_order_id is None:
        renewal = _place_renewal(session, service)
    if quiet or (renewal is not None and renewal.state in (OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS)):
        return
    payable = renewal if renewal is not None and renewal.state is OrderState.PENDING_PAYMENT else None
    session.add(events.service_expiring(service, days=days, renewal=payable))


def end_validity(session: Session, *, service_id: str) -> None:
    """Have a service switched off whose time is over, unless its renewal is being carried out. Safe to repeat."""
    service = session.get_one(Service, service_id, with_for_update=True)
    renewing = any(command.action is Action.RENEW for command in pending_commands(session, service))
    if service.ends_within(timedelta()) and not renewing and service.request_deactivation():
        tell_element(session, service, Action.DEACTIVATE, "expired")


def _lock_renewal(session: Session, service_id: str) -> Order | None:
    """The service's renewal, locked before the service."""
    order_id = session.scalar(select(Service.renewal_order_id).where(Service.id == service_id))
    return session.get_one(Order, order_id, with_for_update=True) if order_id is not None else None


def _set_renewal(session: Session, service: Service, renewal: Order | None, renews: bool) -> None:
    """A renewal that is not paid yet is withdrawn with the wish; where one has come to nothing another is placed."""
    if renews and (not service.order.recurring or service.expires_at is None):
        raise ServiceNotRenewable()
    before, service.renews = service.renews, renews
    if renews and (not before if renewal is None else renewal.came_to_nothing):
        service.renewal_order_id = service.warned_days = None
    if not renews and renewal is not None and renewal.state is OrderState.PENDING_PAYMENT:
        withdraw_order(session, renewal, "renewal_switched_off")
        service.renewal_order_id = None


def _place_renewal(session: Session, service: Service) -> Order | None:
    """The order that prolongs a service; None when its offering is no longer sold, or lasts for ever now."""
    offering = session.get_one(Offering, service.offering_id)
    if offering.state is not OfferingState.ACTIVE or offering.validity_days is None or not offering.recurring:
        return None
    order = copy_offering(
        offering, order_id=new_id(), user_id=service.user_id, characteristics=service.characteristics
    )
    order.renews_service_id, order.pay_by = service.id, service.expires_at
    order.placed()
    session.add(order)
    session.flush()
    session.add(events.order_created(order))
    service.renewal_order_id = order.id
    if order.state is OrderState.ACKNOWLEDGED:
        fulfil_order(session, order)
    return order


def _own(session: Session, service_id: str, user_id: str) -> Service:
    service = session.get(Service, service_id, with_for_update=True)
    if service is None or service.user_id != user_id:
        raise NotFound()
    return service
