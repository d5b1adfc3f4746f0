"""Tables of provisioning, their invariants and state transitions.

Rows are locked in one order everywhere: order, customer, service, command, network element.
"""

from provisioning.models.audit import AdminAct
from provisioning.models.base import Base, Category, Element, WrongState
from provisioning.models.catalogue import Offering, OfferingState
from provisioning.models.customers import Customer
from provisioning.models.inventory import (
    ImportState,
    StockFault,
    StockImport,
    StockItem,
    StockKind,
    StockState,
)
from provisioning.models.network import (
    TOLD_AGAIN,
    Action,
    CallRules,
    Command,
    CommandAttempt,
    CommandState,
    NetworkElement,
    SimulatedAnswer,
    SimulatedService,
)
from provisioning.models.orders import Order, OrderChange, OrderState, Part
from provisioning.models.ring_tones import RingTone, ToneState
from provisioning.models.services import Service, ServiceState
from provisioning.models.wishes import Wish

__all__ = [
    "TOLD_AGAIN",
    "Action",
    "AdminAct",
    "Base",
    "CallRules",
    "Category",
    "Command",
    "CommandAttempt",
    "CommandState",
    "Customer",
    "Element",
    "ImportState",
    "NetworkElement",
    "Offering",
    "OfferingState",
    "Order",
    "OrderChange",
    "OrderState",
    "Part",
    "RingTone",
    "Service",
    "ServiceState",
    "SimulatedAnswer",
    "SimulatedService",
    "StockFault",
    "StockImport",
    "StockItem",
    "StockKind",
    "StockState",
    "ToneState",
    "Wish",
    "WrongState",
]
