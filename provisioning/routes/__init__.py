"""HTTP in: `/api/provisioning`."""

from provisioning.routes import admin, customer, inventory
from provisioning.routes.blueprint import routes

__all__ = ["admin", "customer", "inventory", "routes"]
