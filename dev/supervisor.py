"""Keeps programs running: starts each in a session of its own, restarts what dies, and ends all of them to the last.

Knows nothing about the platform: `dev.up` says what to run.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.processes import session_members, signal_session, write_pid_file

FIRST_DELAY = 1.0
LONGEST_DELAY = 10.0
HOPELESS_AFTER = 3  # ends in a row before the program was ever ready
STEADY_AFTER = 30.0  # seconds of life after which the next crash counts as a first one
ASK_EVERY = 0.1

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Program:
    """A command to keep running. `ready`, asked repeatedly after each start, tells when it serves."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    folder: Path
    ready: Check | None = None


class Supervisor:
    """Runs programs until `stop`. Pid files go to `run`, what the programs print to `log`, events to `say`."""

    def __init__(self, run: Path, log: Path, say: Callable[[str], None]) -> None:
        self._run = run
        self._log = log
        self._say = say
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready: set[str] = set()
        self._early_ends: dict[str, int] = {}
        self._width = 0

    @property
    def names(self) -> list[str]:
        """The programs being kept running."""
        return list(self._keepers)

    def start(self, *programs: Program) -> None:
        """Start programs; returns at once."""
        self._width = max(self._width, *(len(program.name) for program in programs))
        for program in programs:
            self._keepers[program.name] = asyncio.create_task(self._keep_running(program))

    async def wait_ready(self, timeout: float) -> list[str]:
        """Wait until every program with a check has passed it; returns the names of those that have not.

        Gives up before the timeout on a program that keeps ending before it is ready.
        """
        deadline = time.monotonic() + timeout
        while late := [name for name in self._keepers if name not in self._ready]:
            hopeless = [name for name in late if self._early_ends.get(name, 0) >= HOPELESS_AFTER]
            if hopeless or time.monotonic() > deadline:
                return hopeless or late
            await asyncio.sleep(0.05)
        return []

    async def stop(self, names: Iterable[str], *, grace: float) -> None:
        """End the named programs: SIGTERM, and after `grace` seconds SIGKILL. Names not running are skipped."""
        chosen = [name for name in names if name in self._keepers]
        keepers = [self._keepers.pop(name) for name in chosen]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.gather(*(self._end(name, grace) for name in chosen))

    def kill(self) -> None:
        """End everything at once."""
        for process in self._processes.values():
            signal_session(process.pid, signal.SIGKILL)

    async def _keep_running(self, program: Program) -> None:
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            try:
                ending = await self._run_once(program)
            except OSError as error:
                ending = f"cannot be started: {error}"
            if time.monotonic() - began > STEADY_AFTER:
                delay = FIRST_DELAY
            if program.name not in self._ready:
                self._early_ends[program.name] = self._early_ends.get(program.name, 0) + 1
            log = self._log / f"{program.name}.log"
            self._tell(program.name, f"{ending}, starting again in {delay:.0f} s (see {log})")
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self, program: Program) -> str:
        """Run the program until it ends by itself; returns how it ended."""
        began = time.monotonic()
        process = await self._spawn(program)
        readiness = asyncio.create_task(self._watch_readiness(program, began))
        try:
            code = await process.wait()
        finally:
            readiness.cancel()
        signal_session(process.pid, signal.SIGKILL)  # children that outlived their leader keep its port
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _spawn(self, program: Program) -> asyncio.subprocess.Process:
        with (self._log / f"{program.name}.log").open("ab") as log:
            # Shielded: a process whose start is interrupted must still be known, to be ended.
            start = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *program.command,
                    cwd=program.folder,
                    env=dict(program.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            try:
                process = await asyncio.shield(start)
            except asyncio.CancelledError:
                self._remember(program, await start)
                raise
        self._remember(program, process)
        return process

    def _remember(self, program: Program, process: asyncio.subprocess.Process) -> None:
        self._processes[program.name] = process
        write_pid_file(self._run / f"{program.name}.pid", process.pid)

    async def _watch_readiness(self, program: Program, began: float) -> None:
        while program.ready is not None and not await program.ready():
            await asyncio.sleep(ASK_EVERY)
        self._ready.add(program.name)
        self._tell(
            program.name, f"ready after {time.monotonic() - began:.1f} s" if program.ready else "started"
        )

    async def _end(self, name: str, grace: float) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        # First its leader: looking for its children is looking at all processes there are, 8 ms each time.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
        while session_members(process.pid):
            if time.monotonic() > deadline:
                self._tell(name, f"did not stop within {grace:.0f} s, killed")
                signal_session(process.pid, signal.SIGKILL)
                deadline = float("inf")
            await asyncio.sleep(0.05)
        await process.wait()
        (self._run / f"{name}.pid").unlink(missing_ok=True)

    def _tell(self, name: str, event: str) -> None:
        self._say(f"  {name:<{self._width}}  {event}")
