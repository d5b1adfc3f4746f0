"""HTTP in: `/api/provisioning`."""

from provisioning.routes import admin, customer, inventory, shop
from provisioning.routes.blueprint import routes

__all__ = ["admin", "customer", "inventory", "routes", "shop"]
