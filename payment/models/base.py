"""The declarative base and how rows are written on the hot path."""

from typing import Any

from sqlalchemy import Update
from sqlalchemy.orm import DeclarativeBase, Session

from common.db import ModelBase, service_metadata
from common.db.bulk import insert_few


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


def insert_rows(session: Session, *rows: Base) -> None:
    """Add rows of one table as they are, without the session taking them in."""
    table = rows[0].__table__
    names = [column.name for column in table.columns]
    insert_few(session, table, [{name: getattr(row, name) for name in names} for row in rows])


def changed_one(session: Session, statement: Update, values: dict[str, Any]) -> bool:
    return session.connection().execute(statement, values).rowcount == 1
