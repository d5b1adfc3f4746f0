"""Rows without the unit of work: a few in one statement; many by COPY on Postgres, one prepared INSERT on SQLite. For
hot paths; models are the way elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Insert, Table, TextClause, bindparam, insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

FEW = 4
"""Up to so many rows have a statement of their own."""


def insert_few(session: Session, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, which all give the same columns, in the session's transaction."""
    if len(rows) > FEW:
        session.connection().execute(_inserting_many(table), rows)
        return
    bound = {f"{name}_{n}": value for n, row in enumerate(rows) for name, value in row.items()}
    session.connection().execute(_inserting_few(table, tuple(rows[0]), len(rows)), bound)


@cache
def _inserting_many(table: Table) -> Insert:
    return insert(table)


@cache
def _inserting_few(table: Table, names: tuple[str, ...], rows: int) -> TextClause:
    """One statement for all rows, since a list of parameters costs Postgres a message for each. As text, because
    SQLAlchemy compiles an insert of several rows anew each time."""
    places = (f"({', '.join(f':{name}_{n}' for name in names)})" for n in range(rows))
    bound = (bindparam(f"{name}_{n}", type_=table.columns[name].type) for n in range(rows) for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    statement = f'INSERT INTO "{table.name}" ({columns}) VALUES {", ".join(places)}'  # noqa: S608 (our own names)
    return text(statement).bindparams(*bound)


def insert_many(session: Session, table: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Add rows, given as plain values in the order of `columns`, in the session's transaction.

    Raises IntegrityError.
    """
    assert isinstance(table, Table)
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        if values:
            connection.execute(insert(table), values)
        return
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.IntegrityError as error:
        raise IntegrityError("COPY", None, error) from error
