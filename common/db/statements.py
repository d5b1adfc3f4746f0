"""Statements of hot paths: written out once per dialect and given straight to the driver.

SQL, types and errors are SQLAlchemy's, only its execution is left out: 20 µs around each statement in a warm loop, 80
where a password's hash has just emptied the processor's caches. For the same reason a row is a plain named tuple.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeAlias

import psycopg
from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Dialect,
    Engine,
    Insert,
    PoolProxiedConnection,
    Select,
    Update,
    insert,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from common.db.turns import begin_immediate, turns_of

Core = Select[*tuple[Any, ...]] | Insert | Update | Delete
Values = Mapping[str, Any]
Found: TypeAlias = Any
"""A row: a named tuple of a statement's columns."""
_Convert = Callable[[Any], Any] | None


class Runner(Protocol):
    """What a statement runs on: a connection of SQLAlchemy's, or a `Bare` one."""

    @property
    def dialect(self) -> Dialect: ...
    @property
    def connection(self) -> PoolProxiedConnection: ...
    def invalidate(self, exception: BaseException | None = None) -> None: ...


class _Written:
    """A statement as one dialect has it."""

    def __init__(self, core: Core, given: Sequence[str] | None, dialect: Dialect) -> None:
        compiled = core.compile(dialect=dialect, column_keys=given)
        assert isinstance(compiled, SQLCompiler)
        assert not compiled.post_compile_params, "a list whose length is not known"
        assert not compiled.insert_prefetch, "a default that Python computes"
        assert not compiled.update_prefetch
        names = compiled.positiontup or list(compiled.params)
        self.text = str(compiled)
        if not compiled.positional:
            self.text %= {name: f"${number}" for number, name in enumerate(names, 1)}
        self._fixed: dict[str, Any] = {}
        self._slots = [(name, self._convert(name, compiled.binds[name], dialect)) for name in names]
        self._core = core
        self._dialect = dialect
        self._read: Callable[[Sequence[Any]], Found] | None = None

    def _convert(self, name: str, bind: BindParameter[Any], dialect: Dialect) -> _Convert:
        """What makes the driver's value of the caller's; a value of the statement's own is made here."""
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind.required:
            return convert
        self._fixed[name] = convert(bind.value) if convert else bind.value
        return None

    def bind(self, values: Values) -> list[Any]:
        if self._fixed:
            values = {**values, **self._fixed}
        return [values[name] if convert is None else convert(values[name]) for name, convert in self._slots]

    def rows(self, cursor: DBAPICursor) -> list[Found]:
        found = cursor.fetchall()
        if not found:
            return []
        if self._read is None:  # only now it is known what the driver gives
            types = [column[1] for column in cursor.description or ()]
            self._read = _reader(self._core, self._dialect, types)
        return [self._read(row) for row in found]


def _reader(core: Core, dialect: Dialect, types: Sequence[Any]) -> Callable[[Sequence[Any]], Found]:
    """Makes a named tuple of a row of the driver's, whose columns have these types."""
    columns = core.column_descriptions if isinstance(core, Select) else core.returning_column_descriptions
    names = [column["name"] for column in columns]
    row: Any = namedtuple("Row", names)  # type: ignore[misc]  # their names are known only now
    converts = []
    for number, (column, given) in enumerate(zip(columns, types, strict=True)):
        convert = column["type"].dialect_impl(dialect).result_processor(dialect, given)
        if convert is not None:
            converts.append((number, convert))

    def read(found: Sequence[Any]) -> Found:
        values = list(found)
        for number, convert in converts:
            values[number] = convert(values[number])
        return row._make(values)

    return read if converts else row._make


class Statement:
    """A Core statement, made once, at import. `given` names the columns that an insert or update sets without saying
    so itself. Each runs in the transaction of the connection and raises SQLAlchemy's errors."""

    def __init__(self, core: Core, *given: str) -> None:
        self._core = core.inline() if isinstance(core, Insert) else core
        self._given = given or None
        self._written: dict[str, _Written] = {}

    def run(self, on: Runner, values: Values) -> int:
        """Returns how many rows were touched."""
        written = self._for(on.dialect)
        return _execute(on, written, written.bind(values)).rowcount

    def run_many(self, on: Runner, many: Sequence[Values]) -> None:
        if len(many) == 1:
            self.run(on, many[0])
            return
        written = self._for(on.dialect)
        _execute(on, written, [written.bind(values) for values in many], many=True)

    def all(self, on: Runner, values: Values) -> list[Found]:
        written = self._for(on.dialect)
        return written.rows(_execute(on, written, written.bind(values)))

    def first(self, on: Runner, values: Values) -> Found | None:
        """The one row that there can be, or None."""
        rows = self.all(on, values)
        return rows[0] if rows else None

    def _for(self, dialect: Dialect) -> _Written:
        found = self._written.get(dialect.name)
        if found is None:
            found = self._written[dialect.name] = _Written(self._core, self._given, dialect)
        return found


@cache
def inserting(table: Any, names: tuple[str, ...]) -> Statement:
    """The insert of rows that give these columns, in this order."""
    return Statement(insert(table), *names)


def _execute(on: Runner, written: _Written, values: Any, *, many: bool = False) -> DBAPICursor:
    try:
        cursor: DBAPICursor = _cursor(on)
        if many:
            cursor.executemany(written.text, values)
        else:
            cursor.execute(written.text, values)
    except on.dialect.loaded_dbapi.Error as error:
        if lost := on.dialect.is_disconnect(error, on.connection, None):
            on.invalidate(error)
        raise as_sqlalchemys(error, on.dialect, written.text, lost=lost) from error
    return cursor


def _cursor(on: Runner) -> Any:
    """Of Postgres's driver one that passes on `$1` as it stands: the usual one looks through each text for `%`, and
    again each time when it has more than fifty places."""
    if on.dialect.name == "postgresql":
        return psycopg.RawCursor(on.connection.driver_connection)  # type: ignore[arg-type]
    return on.connection.cursor()


def as_sqlalchemys(error: Exception, dialect: Dialect, text: str, *, lost: bool = False) -> BaseException:
    """The driver's error as SQLAlchemy would raise it."""
    base = dialect.loaded_dbapi.Error
    return DBAPIError.instance(
        text, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=dialect
    )


class Bare:
    """A writing transaction for statements alone, on the connection given or one of the engine's pool. Raises
    SQLAlchemy's errors."""

    def __init__(self, on: Engine | Connection) -> None:
        self.dialect = on.dialect
        self._turns = turns_of(on)
        self._pooled = isinstance(on, Engine)
        try:
            self.connection = on.raw_connection() if isinstance(on, Engine) else on.connection
        except self.dialect.loaded_dbapi.Error as error:
            raise as_sqlalchemys(error, self.dialect, "connect") from error

    def begin(self) -> None:
        """SQLite locks here, Postgres's driver begins with the first statement."""
        if self._turns is not None:
            wait_s = self._turns.lock_timeout_s
            self._do("BEGIN IMMEDIATE", begin_immediate, self.connection.dbapi_connection, wait_s)

    def commit(self) -> None:
        self._do("COMMIT", self.connection.commit)

    def roll_back(self) -> None:
        """Never fails: a connection that cannot is not used again, and its end undoes the transaction."""
        try:
            if self.connection.is_valid:
                self.connection.rollback()
        except self.dialect.loaded_dbapi.Error as error:
            self.invalidate(error)

    def invalidate(self, exception: BaseException | None = None) -> None:
        self.connection.invalidate(exception)

    def close(self) -> None:
        if self._pooled:
            self.connection.close()

    def _do(self, what: str, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except self.dialect.loaded_dbapi.Error as error:
            raise as_sqlalchemys(error, self.dialect, what) from error
