"""The blueprint, and what its routes share."""

from flask import Blueprint, current_app

from billing.config import Settings
from common.errors import NotFound
from common.identity import identity

routes = Blueprint("billing", __name__)

STAFF = frozenset({"agent", "admin"})


def settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def whose(user_id: str | None) -> str:
    """The customer whom a read is about. Raises NotFound for another's unless the caller is staff."""
    caller = identity()
    if user_id is None or user_id == caller.user_id:
        return caller.user_id
    if not caller.roles & STAFF:
        raise NotFound()
    return user_id


def owner() -> str | None:
    """Whose things only the caller may see: their own, or None for staff, who see everybody's."""
    return None if identity().roles & STAFF else identity().user_id
