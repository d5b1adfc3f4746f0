"""The base of billing's tables."""

from sqlalchemy.orm import DeclarativeBase

from common.db import ModelBase, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


class InvalidTransition(Exception):
    """A state was to change in a way that its machine does not have: our own fault."""
