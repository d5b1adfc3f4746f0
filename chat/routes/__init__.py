"""HTTP in: `/api/chat`. Each change is told to the sockets once it is committed."""

from chat.routes import care, conversations, pages, tickets
from chat.routes.blueprint import routes

__all__ = ["care", "conversations", "pages", "routes", "tickets"]
