"""Events that provisioning emits."""

from common import clock
from common.db.session import NewEvent
from common.messaging import new_event
from provisioning.models import Order, Service


def order_created(order: Order) -> NewEvent:
    return new_event(
        "order.created",
        subject=order.user_id,
        data={
            **_order(order),
            "offering_id": order.offering_id,
            "state": order.state.value,
            "created_at": clock.rfc3339(order.created_at),
        },
    )


def order_cancelled(order: Order, reason: str) -> NewEvent:
    return new_event("order.cancelled", subject=order.user_id, data={**_order(order), "reason": reason})


def order_failed(order: Order, reason: str) -> NewEvent:
    return new_event("order.failed", subject=order.user_id, data={**_order(order), "reason": reason})


def service_activated(service: Service, order: Order, *, renewed: bool = False) -> NewEvent:
    """The service is on, or on for longer, by the order."""
    assert service.activated_at is not None
    return new_event(
        "service.activated",
        subject=service.user_id,
        data={
            "service_id": service.id,
            "order_id": order.id,
            "order_number": order.number,
            "renewed": renewed,
            "user_id": service.user_id,
            "offering_id": service.offering_id,
            "offering_code": service.offering_code,
            "offering_name": service.offering_name,
            "category": service.category.value,
            "allowances": service.allowances,
            "activated_at": clock.rfc3339(service.activated_at),
            "expires_at": service.expires_at and clock.rfc3339(service.expires_at),
        },
    )


def service_deactivated(service: Service, reason: str) -> NewEvent:
    return new_event(
        "service.deactivated",
        subject=service.user_id,
        data={
            "service_id": service.id,
            "user_id": service.user_id,
            "offering_code": service.offering_code,
            "offering_name": service.offering_name,
            "reason": reason,
        },
    )


def service_expiring(service: Service, *, days: int, renewal: Order | None) -> NewEvent:
    """It ends within so many days; `renewal` is the order that prolongs it when it is paid."""
    assert service.expires_at is not None
    return new_event(
        "service.expiring",
        subject=service.user_id,
        data={
            "service_id": service.id,
            "user_id": service.user_id,
            "offering_code": service.offering_code,
            "offering_name": service.offering_name,
            "expires_at": clock.rfc3339(service.expires_at),
            "days_left": days,
            "renewal_order_id": renewal.id if renewal is not None else None,
            "renewal_order_number": renewal.number if renewal is not None else None,
        },
    )


def _order(order: Order) -> dict[str, object]:
    return {
        "order_id": order.id,
        "number": order.number,
        "user_id": order.user_id,
        "offering_code": order.offering_code,
        "offering_name": order.offering_name,
        "total": order.total.model_dump(),
    }
