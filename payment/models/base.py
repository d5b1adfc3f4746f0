"""The declarative base and how rows are written on the hot path."""

from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, TextClause, Update, bindparam, text
from sqlalchemy import insert as sql_insert
from sqlalchemy.orm import DeclarativeBase, Session

from common.db import ModelBase, service_metadata

FEW = 4
"""Up to so many rows have a statement of their own."""


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


def insert_rows(session: Session, *rows: Base) -> None:
    """Add rows of one table as they are, without the session taking them in."""
    table = rows[0].__table__
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    if len(rows) > FEW:
        values = [{name: getattr(row, name) for name in names} for row in rows]
        session.connection().execute(_inserting_many(table), values)
        return
    bound = {f"{name}_{n}": getattr(row, name) for n, row in enumerate(rows) for name in names}
    session.connection().execute(_inserting_few(table, len(rows)), bound)


def changed_one(session: Session, statement: Update, values: dict[str, Any]) -> bool:
    return session.connection().execute(statement, values).rowcount == 1


@cache
def _inserting_many(table: Table) -> Insert:
    return sql_insert(table)


@cache
def _inserting_few(table: Table, rows: int) -> TextClause:
    """One statement for all rows, since a list of parameters costs Postgres a message for each. As text, because
    SQLAlchemy compiles an insert of several rows anew each time."""
    columns = table.columns
    names = ", ".join(f'"{column.name}"' for column in columns)
    places = (f"({', '.join(f':{column.name}_{n}' for column in columns)})" for n in range(rows))
    bound = (bindparam(f"{column.name}_{n}", type_=column.type) for n in range(rows) for column in columns)
    statement = f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join(places)}'  # noqa: S608 (our own names)
    return text(statement).bindparams(*bound)
