"""Programs are kept running, and stopped to the last child, whatever they do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dev.processes import end_sessions, read_pid_file, recorded, session_members, stat, write_pid_file
from dev.supervisor import Program, Supervisor

SLEEPER = "import time; time.sleep(600)"
STUBBORN_PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print("up", flush=True)
time.sleep(600)
"""


def _program(name: str, code: str) -> Program:
    return Program(name, [sys.executable, "-c", code], os.environ, Path.cwd())


async def _until(true: Callable[[], bool], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


def test_a_killed_program_is_started_again_and_the_other_stays(tmp_path: Path) -> None:
    said: list[str] = []

    async def story() -> None:
        supervisor = Supervisor(tmp_path, tmp_path, said.append)
        supervisor.start(_program("one", SLEEPER), _program("two", SLEEPER))
        await _until(lambda: len(list(recorded(tmp_path))) == 2)
        one, two = read_pid_file(tmp_path / "one.pid"), read_pid_file(tmp_path / "two.pid")
        assert one is not None
        os.kill(one, signal.SIGKILL)
        await _until(lambda: read_pid_file(tmp_path / "one.pid") not in (None, one))
        assert read_pid_file(tmp_path / "two.pid") == two
        await supervisor.stop(supervisor.names, grace=5)

    asyncio.run(story())
    assert list(recorded(tmp_path)) == []
    assert any("killed by SIGKILL, starting again in 1 s" in line for line in said)


def test_stopping_leaves_no_child_of_a_program_that_ignores_it(tmp_path: Path) -> None:
    async def story() -> int:
        supervisor = Supervisor(tmp_path, tmp_path, lambda _: None)
        supervisor.start(_program("stubborn", STUBBORN_PARENT))
        log = tmp_path / "stubborn.log"
        await _until(lambda: log.exists() and "up" in log.read_text())
        leader = read_pid_file(tmp_path / "stubborn.pid")
        assert leader is not None
        await _until(lambda: len(session_members(leader)) == 2)
        await supervisor.stop(["stubborn"], grace=0.3)
        return leader

    assert session_members(asyncio.run(story())) == []


def test_a_program_that_cannot_start_is_given_up_soon(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async def story() -> list[str]:
        supervisor = Supervisor(tmp_path, tmp_path, lambda _: None)
        command = [sys.executable, "-c", "raise SystemExit('AUTH_PORT is not set')"]
        supervisor.start(Program("broken", command, {}, Path.cwd(), never))
        late = await supervisor.wait_ready(600)
        await supervisor.stop(supervisor.names, grace=1)
        return late

    began = time.monotonic()
    assert asyncio.run(story()) == ["broken"]
    assert time.monotonic() - began < 120
    assert "AUTH_PORT is not set" in (tmp_path / "broken.log").read_text()


def test_a_pid_given_to_somebody_else_is_not_touched(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        found = stat(stranger.pid)
        assert found is not None
        (tmp_path / "old.pid").write_text(f"{stranger.pid} {found.started - 1}\n")
        assert read_pid_file(tmp_path / "old.pid") is None
        end_sessions([pid for _, pid in recorded(tmp_path)], grace=1)
        assert stranger.poll() is None

        write_pid_file(tmp_path / "ours.pid", stranger.pid)
        end_sessions([pid for _, pid in recorded(tmp_path)], grace=5)
        assert stranger.wait(timeout=60) == -signal.SIGTERM
