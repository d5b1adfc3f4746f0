"""HTTP in: `/api/billing`."""

from billing.routes import admin, customers
from billing.routes.base import routes

__all__ = ["admin", "customers", "routes"]
