"""Many rows without the unit of work: by COPY on Postgres, one prepared INSERT on SQLite. For hot paths; models are the
way elsewhere."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Table, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session


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
