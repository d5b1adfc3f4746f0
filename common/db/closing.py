"""What a transaction writes last: rows that nothing in it reads, its events, the claim of its request, whom it wakes.

On Postgres all of that is one statement, since each costs a round trip; SQLite gets one after the other.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    insert,
    literal_column,
    select,
)
from sqlalchemy.orm import Session

from common.db.statements import Statement, inserting

MANY = 8
"""So many rows of a table are a statement of their own."""

Rows = Sequence[Mapping[str, Any]]
Part = tuple[Table, tuple[str, ...], int]
Others = tuple[Update | Select[Any], ...]


class Closing:
    """Inserts and other statements that do not depend on each other."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Table, tuple[str, ...]], list[Mapping[str, Any]]] = {}
        self._others: list[tuple[Update | Select[Any], Mapping[str, Any]]] = []

    def insert(self, table: Any, rows: Rows) -> None:
        """Rows as they are: each gives the same columns, those with a default in Python among them."""
        self._rows.setdefault((table, tuple(rows[0])), []).extend(rows)

    def add(self, statement: Update | Select[Any], values: Mapping[str, Any]) -> None:
        """A statement built once, one of them a select at most. The parameters of all have names of their own."""
        self._others.append((statement, values))

    def run(self, session: Session) -> None:
        """Raises IntegrityError."""
        connection = session.connection()
        shape: list[Part] = []
        bound: dict[str, Any] = {}
        for (table, names), rows in self._rows.items():
            if len(rows) >= MANY:
                inserting(table, names).run_many(connection, rows)
                continue
            bound |= {
                f"{name}_{len(shape)}_{number}": row[name]
                for number, row in enumerate(rows)
                for name in names
            }
            shape.append((table, names, len(rows)))
        for _, values in self._others:
            bound |= values
        if bound:
            writes = tuple(statement for statement, _ in self._others)
            write = _as_one if connection.dialect.name == "postgresql" else _one_by_one
            for statement in write(tuple(shape), writes):
                statement.run(connection, bound)


def at_the_end(session: Session, table: Any, rows: Rows) -> None:
    """Add rows when the session's transaction ends. For what nothing in it reads; a key that is taken raises
    IntegrityError then. Not in a savepoint, whose rollback would not undo it."""
    assert not session.in_nested_transaction()
    closing_of(session).insert(table, rows)


def closing_of(session: Session) -> Closing:
    found: Closing = session.info.setdefault("closing", Closing())
    return found


@cache
def _one_by_one(parts: tuple[Part, ...], others: Others) -> list[Statement]:
    return [Statement(core) for core in (*_inserts(parts), *others)]


@cache
def _as_one(parts: tuple[Part, ...], others: Others) -> list[Statement]:
    """A select whose common table expressions do the writing, in an order of Postgres's own: nothing depends on it."""
    writes = [*_inserts(parts), *(other for other in others if isinstance(other, Update))]
    told = next((other for other in others if isinstance(other, Select)), None)
    if told is None and len(writes) == 1:
        return [Statement(writes[0])]
    whole: Select[Any] = select(literal_column("1")) if told is None else told
    return [Statement(whole.add_cte(*(each.cte(f"write_{number}") for number, each in enumerate(writes))))]


def _inserts(parts: tuple[Part, ...]) -> list[Insert | Update]:
    return [
        insert(table).values(
            [
                {name: bindparam(f"{name}_{part}_{number}", type_=table.c[name].type) for name in names}
                for number in range(rows)
            ]
        )
        for part, (table, names, rows) in enumerate(parts)
    ]
