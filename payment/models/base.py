"""The declarative base and how rows are written on the hot path."""

from functools import cache
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Session

from common.db import ModelBase, Statement, service_metadata
from common.db.closing import at_the_end
from common.db.statements import inserting


class Base(ModelBase, DeclarativeBase):
    metadata = service_metadata()


def insert_rows(session: Session, *rows: Base) -> None:
    """Add rows of one table, which all give the same columns, without the session taking them in."""
    given = [_given(row) for row in rows]
    inserting(rows[0].__table__, tuple(given[0])).run_many(session.connection(), given)


def insert_last(session: Session, *rows: Base) -> None:
    """As `insert_rows`, but when the session's transaction ends: for what nothing in it reads."""
    at_the_end(session, rows[0].__table__, [_given(row) for row in rows])


def _given(row: Base) -> dict[str, Any]:
    """The columns that a row was given: the others are null."""
    given = vars(row)
    return {name: given[name] for name in _names(row.__table__) if name in given}


@cache
def _names(table: Any) -> tuple[str, ...]:
    return tuple(table.columns.keys())


def changed_one(session: Session, statement: Statement, values: dict[str, Any]) -> bool:
    return statement.run(session.connection(), values) == 1
