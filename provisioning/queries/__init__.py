"""Reads of provisioning."""

from provisioning.queries.sales import (
    get_offering,
    get_order,
    get_service,
    history_of,
    list_offerings,
    list_orders,
    list_services,
)
from provisioning.queries.shop import get_tone, list_numbers, list_tones, list_wishes
from provisioning.queries.staff import (
    get_any_offering,
    get_delivery,
    list_acts,
    list_all_offerings,
    list_all_orders,
    list_commands,
    list_deliveries,
    list_elements,
    list_stock,
)
from provisioning.queries.work import (
    due_commands,
    next_delivery,
    overdue_commands,
    services_near_their_end,
    services_past_validity,
    services_to_audit,
    unpaid_orders,
)

__all__ = [
    "due_commands", "get_any_offering", "get_delivery", "get_offering", "get_order", "get_service", "get_tone",
    "history_of", "list_acts", "list_all_offerings", "list_all_orders", "list_commands", "list_deliveries",
    "list_elements", "list_numbers", "list_offerings", "list_orders", "list_services", "list_stock", "list_tones",
    "list_wishes", "next_delivery", "overdue_commands", "services_near_their_end", "services_past_validity",
    "services_to_audit", "unpaid_orders",
]  # fmt: skip
