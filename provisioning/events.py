"""Events that provisioning emits."""

from common import clock
from common.db.tables import Outbox
from common.messaging import new_event
from provisioning.models import Order, Service


def order_created(order: Order) -> Outbox:
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


def order_cancelled(order: Order, reason: str) -> Outbox:
    return new_event("order.cancelled", subject=order.user_id, data={**_order(order), "reason": reason})


def order_failed(order: Order, reason: str) -> Outbox:
    return new_event("order.failed", subject=order.user_id, data={**_order(order), "reason": reason})


def service_activated(service: Service) -> Outbox:
    assert service.activated_at is not None
    return new_event(
        "service.activated",
        subject=service.user_id,
        data={
            "service_id": service.id,
            "order_id": service.order_id,
            "order_number": service.order.number,
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


def service_deactivated(service: Service, reason: str) -> Outbox:
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


def _order(order: Order) -> dict[str, object]:
    return {
        "order_id": order.id,
        "number": order.number,
        "user_id": order.user_id,
        "offering_code": order.offering_code,
        "offering_name": order.offering_name,
        "total": order.total.model_dump(),
    }
