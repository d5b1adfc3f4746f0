"""A RabbitMQ node for tests to start, stop, freeze and kill: `dev.broker`'s private node on ports of its own."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pika
import pytest

from common.messaging.topology import declare, queues
from dev.broker import PrivateNode, find_server
from dev.ports import free_ports
from dev.processes import session_members, signal_session


class PrivateRabbit:
    """One node with its own home. `stop` and `kill` keep its data and its port, so that `start` continues."""

    def __init__(self, home: Path | None = None) -> None:
        self._made_home = home is None
        self.home = home or Path(tempfile.mkdtemp(prefix="sri-care-rabbitmq-"))
        port, distribution_port, epmd_port = free_ports(3)
        self.node = PrivateNode(find_server(), self.home, port, distribution_port, epmd_port)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def port(self) -> int:
        return self.node.port

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> Self:
        """Start the node and return when it accepts clients (about 5 s)."""
        if self.running:
            return self
        environment = self.node.prepare()
        if self._epmd is None:
            self._epmd = self._spawn(self.node.epmd_command, environment, "epmd.out")
        self._server = self._spawn(self.node.server_command, environment, "server.out")
        self.node.wait_until_reachable(timeout=180)
        return self

    def stop(self) -> None:
        """Stop the node in order, as an operator would."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._end(self._server)

    def kill(self) -> None:
        """End the node as a power cut would."""
        if self._server is not None:
            self._signal(signal.SIGKILL)
            self._end(self._server)

    def freeze(self) -> None:
        """Stop answering without closing a connection (SIGSTOP), until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End everything this node started, and remove its home if it made it."""
        self.thaw()
        self.stop()
        if self._epmd is not None:
            self._epmd.terminate()
            self._end(self._epmd)
            self._epmd = None
        if self._made_home:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, command: list[str], environment: dict[str, str], output: str) -> subprocess.Popen[bytes]:
        with (self.home / output).open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self._server is not None:
            signal_session(self._server.pid, number)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        """Wait until the process is gone with all its children, the Erlang machine among them."""
        deadline = time.monotonic() + 20
        while process.poll() is None or session_members(process.pid):
            if time.monotonic() > deadline:
                signal_session(process.pid, signal.SIGKILL)
            time.sleep(0.02)


@pytest.fixture(scope="session")
def rabbit() -> Iterator[PrivateRabbit]:
    """One node for the tests of a run that leave it running; who stops or kills one starts its own."""
    with PrivateRabbit() as node:
        yield node


@pytest.fixture
def broker_url(rabbit: PrivateRabbit) -> str:
    """The run's node with the platform's exchanges and queues, and nothing that an earlier test has left in them."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))
    declare(connection)
    channel = connection.channel()
    for queue in queues():
        channel.queue_purge(queue.name)
    connection.close()
    return rabbit.url
