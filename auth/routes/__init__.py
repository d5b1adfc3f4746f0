"""HTTP in: `/api/auth`."""

from auth.routes import accounts, administration, codes, contacts, factors, kyc, sessions
from auth.routes.base import routes

__all__ = ["accounts", "administration", "codes", "contacts", "factors", "kyc", "routes", "sessions"]
