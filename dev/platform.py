"""The platform's processes on this machine: their order, their commands, and when they count as started."""

import asyncio
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dev import broker, gateway
from dev.environment import ROOT, SERVICES, Layout
from dev.ports import LOOPBACK, free_ports, is_free, listener
from dev.supervisor import Check, Program, Supervisor
from dev.terminal import Trouble, say

START_WITHIN = 180.0  # seconds; a cold disk and two slow, busy cores included
STOP_WITHIN = 10.0
BROKER = ("rabbitmq", "epmd")
EXCEPTION = re.compile(r"[\w.]*\w(Error|Exception): ")


class Platform:
    """What runs: made of one supervisor and the programs for it."""

    def __init__(self, layout: Layout, without: Sequence[str] = ()) -> None:
        self.layout = layout
        self.without = frozenset(without)
        self.supervisor = Supervisor(layout.home.programs, layout.home.log, say)
        self.broker_url = ""

    async def start(self) -> None:
        """Everything up to the point where each process is ready. Raises `Trouble` when that is not to be."""
        began = time.monotonic()
        say(f"Sri-Care on this machine; all that it writes is in {self.layout.home.path}")
        self._check_ports()
        self._fresh_files()
        node = await asyncio.to_thread(self._find_broker)
        if node is not None:
            self._start_node(node)
        say("migrating the databases")
        await migrate(self.layout, SERVICES)
        await self._wait_ready()  # the broker, before anything that talks to it
        say("starting the services, their workers and the gateway")
        self.supervisor.start(*self._programs())
        await self._wait_ready()
        await self._wait_healthy()
        say(f"everything is ready after {time.monotonic() - began:.0f} s")

    async def stop(self) -> None:
        """End everything; the broker once the workers have finished what they had in hand."""
        names = self.supervisor.names
        workers = [name for name in names if name.endswith("-worker")]
        others = [name for name in names if name not in (*workers, *BROKER)]
        await asyncio.gather(
            self.supervisor.stop(others, grace=STOP_WITHIN), self._stop_broker_after(workers)
        )

    async def _stop_broker_after(self, workers: list[str]) -> None:
        await self.supervisor.stop(workers, grace=STOP_WITHIN)
        for name in BROKER:
            await self.supervisor.stop([name], grace=STOP_WITHIN)

    def _check_ports(self) -> None:
        wanted = {"GATEWAY_PORT": self.layout.gateway_port}
        wanted |= {f"{service.upper()}_PORT": port for service, port in self.layout.ports.items()}
        for variable, port in wanted.items():
            if not is_free(port):
                raise Trouble(
                    f"port {port} is in use ({listener(port)}); stop that, or choose another: {variable}=…"
                )

    def _fresh_files(self) -> None:
        """Counters of dead processes must not live on in new ones, and logs are kept for one run more."""
        for log in self.layout.home.log.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        shutil.rmtree(self.layout.home.metrics, ignore_errors=True)
        for service in SERVICES:
            (self.layout.home.metrics / service).mkdir(parents=True)

    def _find_broker(self) -> broker.PrivateNode | None:
        """Settle `broker_url`; returns the node that has to be started for it, if any."""
        url = broker.reachable_url()
        if url is None and broker.installed_server() is None:
            broker.install_server()
            url = broker.reachable_url()  # the package may have started a service of its own
        if url is not None:
            say(f"using the RabbitMQ at {broker.without_password(url)}")
            self.broker_url = url
            return None
        ports = free_ports(3)
        port = 5672 if is_free(5672) else ports[0]
        node = broker.PrivateNode(
            server=broker.find_server(),
            home=self.layout.home.data / "rabbitmq",
            port=port,
            distribution_port=ports[1],
            epmd_port=ports[2],
            management_port=15672 if is_free(15672) else None,
        )
        say(f"starting a private RabbitMQ on port {port}")
        self.broker_url = node.url
        return node

    def _start_node(self, node: broker.PrivateNode) -> None:
        environment = node.prepare()

        async def accepts() -> bool:
            return await asyncio.to_thread(broker.refusal, node.url) is None

        self.supervisor.start(
            Program("epmd", node.epmd_command, environment, node.home),
            Program("rabbitmq", node.server_command, environment, node.home, accepts),
        )

    def _programs(self) -> list[Program]:
        found = [self._gateway(), *(program for service in SERVICES for program in self._service(service))]
        if unknown := self.without - {program.name for program in found}:
            raise Trouble(f"there is no process {', '.join(sorted(unknown))} to leave out")
        return [program for program in found if program.name not in self.without]

    def _gateway(self) -> Program:
        layout = self.layout
        configuration = layout.home.run / "caddy.json"
        upstreams = {service: layout.upstreams(service) for service in SERVICES}
        gateway.write_caddy_configuration(configuration, layout.gateway_port, upstreams)
        folder = layout.home.data / "caddy"
        folder.mkdir(exist_ok=True)
        serves = answers(layout.gateway_port, "/", {404})
        return Program(
            "gateway", gateway.caddy_command(configuration), gateway.caddy_environment(folder), ROOT, serves
        )

    def _service(self, service: str) -> Iterator[Program]:
        environment = self.layout.service_environment(service, self.broker_url)
        for number, port in enumerate(self.layout.upstreams(service), start=1):
            yield Program(
                f"{service}-web" if number == 1 else f"{service}-web-{number}",
                web_command(service, port),
                {**environment, f"{service.upper()}_PORT": str(port)},
                ROOT,
                answers(port, "/ready", {200}),
            )
        yield Program(f"{service}-worker", [sys.executable, "-m", f"{service}.worker"], environment, ROOT)

    async def _wait_ready(self) -> None:
        late = await self.supervisor.wait_ready(START_WITHIN)
        if late:
            log = self.layout.home.log / f"{late[0]}.log"
            raise Trouble(f"{', '.join(late)} did not become ready: {reason(log)} ({log})")

    async def _wait_healthy(self) -> None:
        """Wait for the workers too, which have no port: each service tells of its own in /health."""
        for service in SERVICES:
            if self.without & {f"{service}-web", f"{service}-worker"}:
                continue
            healthy = answers(self.layout.ports[service], "/health", {200})
            deadline = time.monotonic() + START_WITHIN
            while not await healthy():
                if time.monotonic() > deadline:
                    raise Trouble(
                        f"{service} is not healthy: see {self.layout.service_url(service)}/health"
                        f" and {self.layout.home.log / service}-worker.log"
                    )
                await asyncio.sleep(0.2)


def web_command(service: str, port: int) -> list[str]:
    """The command of a service's web process on the port."""
    if service == "chat":  # WebSockets need its own server
        return [sys.executable, "-m", "chat.server"]
    options = ("--config", "python:common.web.gunicorn_conf", "--bind", f"{LOOPBACK}:{port}")
    return [sys.executable, "-m", "gunicorn", *options, f"{service}.app:create_app()"]


async def migrate(layout: Layout, services: Sequence[str]) -> None:
    """Bring databases to their newest schema, in two processes. Raises `Trouble` naming the first that failed."""

    async def some(names: Sequence[str]) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dev.migrating", str(layout.home.log), *names),
            cwd=ROOT,
            env=layout.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            failed, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return failed.decode().split() if process.returncode in (0, 1) else list(names)

    halves = [half for half in (services[::2], services[1::2]) if half]
    failed = {name for names in await asyncio.gather(*map(some, halves)) for name in names}
    for service in services:
        if service in failed:
            log = layout.home.log / f"{service}-migrate.log"
            raise Trouble(f"the migration of {service} failed: {reason(log)} ({log})")


def answers(port: int, path: str, statuses: set[int]) -> Check:
    """A check that a GET on the loopback port is answered with one of the statuses."""

    async def check() -> bool:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                try:
                    writer.write(
                        f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()
                    )
                    status_line = await reader.readline()
                finally:
                    writer.close()
            return int(status_line.split()[1]) in statuses
        except (OSError, TimeoutError, IndexError, ValueError):
            return False

    return check


def reason(log: Path) -> str:
    """Why a program ended, as far as it said so: the last exception it names, else the last thing it said."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    named = [line for line in lines if EXCEPTION.match(line)]
    return (named or lines or ["it said nothing"])[-1].strip()[:300]
