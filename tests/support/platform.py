"""The whole platform as real processes on ports of its own, for tests to use, break and watch.

It is `make up` itself, told by its variables to live in a temporary home: whatever works here works there. The broker
is the test's own node, so that it can be taken away without the platform being asked.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
import pytest

from dev.environment import PORTS, ROOT, SERVICES, Home
from dev.ports import LOOPBACK, free_ports
from dev.processes import end_sessions, read_pid_file, recorded, session_members
from dev.seed import Person, read_people
from tests.support import deployed
from tests.support.deployed import Deployed
from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import PrivateRabbit

Databases = Literal["sqlite", "postgres"]
START_WITHIN = 600.0  # seconds: more than `make up` gives itself for each of its steps


class PlatformFailed(Exception):
    """`make up` ended or did not get ready; holds what it and the process at fault said."""


class Platform:
    """A running platform. `env` overrides variables, `without` names processes to leave out (`billing-worker`)."""

    def __init__(
        self,
        *,
        databases: Databases = "sqlite",
        env: Mapping[str, str] | None = None,
        without: Collection[str] = (),
        seed: bool = False,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sri-care-platform-"))
        self.home = Home(self._folder / "home")
        self.rabbit = PrivateRabbit(self._folder / "rabbitmq")
        self._postgres = PostgresServer() if databases == "postgres" else None
        gateway, *ports = free_ports(1 + len(PORTS))
        self.url = f"http://{LOOPBACK}:{gateway}"
        self.ports = dict(zip(SERVICES, ports, strict=True))
        self._env = {
            "SRICARE_HOME": str(self.home.path),
            "RABBITMQ_URL": self.rabbit.url,
            "GATEWAY_PORT": str(gateway),
            "PUBLIC_URL": self.url,
            "WEB_WORKERS": "1",  # two cores start a platform in half the time; chat and workers are processes anyway
            **{f"{service.upper()}_PORT": str(port) for service, port in self.ports.items()},
            **(env or {}),
        }
        self._options = [option for name in without for option in ("--without", name)]
        self._options += [] if seed else ["--no-seed"]
        self._up: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the broker, the databases and the platform; returns when it is ready."""
        try:
            self.start_broker()
            if self._postgres is not None:
                self._postgres.start()
                for service in SERVICES:
                    self._env[f"{service.upper()}_DATABASE_URL"] = self._postgres.create_database(service)
            self.up()
        except BaseException:
            self.close()
            raise
        return self

    def up(self) -> None:
        """Run `make up` on the broker and the data that are there; returns when it is ready."""
        said_before = len(self.output())
        with self._output.open("ab") as output:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "dev.up", *self._options],
                cwd=ROOT,
                env={**_outer_environment(), **self._env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_for_up(said_before)

    def down(self) -> None:
        """What Ctrl-C does; data and broker stay."""
        if self._up is not None:
            self._up.terminate()
            try:
                self._up.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self._up.kill()
                self._up.wait()
            self._up = None
        end_sessions([pid for _, pid in recorded(self.home.programs)], grace=1)

    def close(self) -> None:
        """End every process and remove all files."""
        self.down()
        self.rabbit.close()
        if self._postgres is not None:
            self._postgres.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def service_url(self, service: str) -> str:
        """The service's own port, past the gateway."""
        return f"http://{LOOPBACK}:{self.ports[service]}"

    def database_url(self, service: str) -> str:
        """SQLAlchemy's URL of the service's database."""
        default = f"sqlite:///{self.home.data / service}.sqlite3"
        return self._env.get(f"{service.upper()}_DATABASE_URL", default)

    @property
    def people(self) -> dict[str, Person]:
        """The demo logins by role, when seeded."""
        return read_people(self.home)

    def pids(self, name: str) -> list[int]:
        """The live processes of a program (`auth-web`, `auth-worker`, `gateway`): its leader first, then children."""
        leader = read_pid_file(self.home.programs / f"{name}.pid")
        if leader is None:
            return []
        return [leader, *(pid for pid in session_members(leader) if pid != leader)]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, everyone: bool = True) -> None:
        """Signal a program, with all its children unless `everyone` is false. The platform starts it again."""
        pids = self.pids(name)
        if not pids:
            raise ProcessLookupError(name)
        for pid in pids if everyone else pids[:1]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # a child that ended with its leader

    def start_broker(self) -> None:
        self.rabbit.start()

    def stop_broker(self) -> None:
        self.rabbit.stop()

    def wait_ready(self, within: float = 120) -> None:
        """Wait until every service that was not left out answers /ready with 200."""
        deadline = time.monotonic() + within
        for service in SERVICES:
            while f"{service}-web" not in self._options and not self._ready(service):
                if time.monotonic() > deadline:
                    raise PlatformFailed(
                        f"{service} is not ready within {within:.0f} s: {self.log(f'{service}-web')}"
                    )
                time.sleep(0.1)

    def log(self, name: str, characters: int = 2000) -> str:
        """The end of what a program printed."""
        file = self.home.log / f"{name}.log"
        return file.read_text(errors="replace")[-characters:] if file.exists() else ""

    def sms(self) -> list[str]:
        """The text messages in the sink, oldest first."""
        return [file.read_text(encoding="utf-8") for file in sorted((self.home.path / "sms").glob("*"))]

    def output(self) -> str:
        """What `make up` itself printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def _output(self) -> Path:
        return self._folder / "up.out"

    def _ready(self, service: str) -> bool:
        try:
            return httpx.get(f"{self.service_url(service)}/ready", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def _wait_for_up(self, said_before: int) -> None:
        deadline = time.monotonic() + START_WITHIN
        while "make down" not in self.output()[said_before:]:
            if self._up is None or self._up.poll() is not None or time.monotonic() > deadline:
                raise PlatformFailed(self.output()[-2000:])
            time.sleep(0.1)


def _outer_environment() -> dict[str, str]:
    """Our own environment without what would point the platform at something of the developer's."""
    shared = ("SRICARE_", "RABBITMQ_", "REDIS_", "OTEL_", *(f"{service.upper()}_" for service in SERVICES))
    return {name: value for name, value in os.environ.items() if not name.startswith(shared)}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform | Deployed]:
    """A platform on SQLite with the demo operator, for the tests of one file; who breaks one starts its own.

    SRICARE_TEST_URL names one that runs already, wherever it does.
    """
    if found := deployed.find():
        yield found
        return
    with Platform(seed=True) as running:
        yield running
