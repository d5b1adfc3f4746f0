"""HTTP in: `/api/notifications`."""

from notification.routes import admin, broadcasts, inbox, preferences, providers, targets
from notification.routes.base import routes

__all__ = ["admin", "broadcasts", "inbox", "preferences", "providers", "routes", "targets"]
