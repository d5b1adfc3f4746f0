"""HTTP in: `/api/payment`."""

from payment.routes import care, cases, methods, payments, reconciliations, wallets, webhooks
from payment.routes.blueprint import routes

__all__ = ["care", "cases", "methods", "payments", "reconciliations", "routes", "wallets", "webhooks"]
