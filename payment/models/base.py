"""The declarative base and how rows are written on the hot path."""

from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, Update
from sqlalchemy import insert as sql_insert
from sqlalchemy.orm import DeclarativeBase, Session

from common.db import ModelBase, service_metadata


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


def insert_rows(session: Session, *rows: Base) -> None:
    """Add rows of one table as they are, without the session taking them in."""
    table = rows[0].__table__
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    values = [{name: getattr(row, name) for name in names} for row in rows]
    session.connection().execute(_inserting(table), values if len(values) > 1 else values[0])


def changed_one(session: Session, statement: Update, values: dict[str, Any]) -> bool:
    return session.connection().execute(statement, values).rowcount == 1


@cache
def _inserting(table: Table) -> Insert:
    return sql_insert(table)
