"""The base of chat's tables."""

from sqlalchemy.orm import DeclarativeBase

from common.db import ModelBase, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()
