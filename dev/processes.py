"""Processes that we started, told apart for certain from any other: pid files, sessions, and ending them.

Each program is started as the leader of a session of its own, so the session's members are the program with all its
children. A pid file holds the leader's pid and its start time in clock ticks since boot: a pid that the system has
given to somebody else since is never signalled.
"""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stat:
    """What /proc tells about a process."""

    pid: int
    state: str
    session: int
    threads: int
    started: int

    @property
    def alive(self) -> bool:
        """A zombie whose other threads still end keeps its sockets open for that while."""
        return self.state not in "ZX" or self.threads > 1


def stat(pid: int) -> Stat | None:
    """The process as it is now; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the program's name before may hold blanks and brackets
    session, threads, started = (int(fields[n]) for n in (3, 17, 19))
    return Stat(pid, fields[0], session, threads, started)


def session_members(leader: int) -> list[int]:
    """The live processes of a leader's session, also when the leader itself is gone."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [s.pid for s in map(stat, pids) if s is not None and s.session == leader and s.alive]


def signal_session(leader: int, number: int) -> None:
    """Send a signal to every live member of the session."""
    for pid in session_members(leader):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def write_pid_file(path: Path, pid: int) -> None:
    """Record a process that we just started; the file appears complete or not at all."""
    found = stat(pid)
    if found is not None:
        draft = path.with_suffix(".new")
        draft.write_text(f"{pid} {found.started}\n")
        draft.replace(path)


def read_pid_file(path: Path) -> int | None:
    """The pid in the file if that very process is still alive."""
    try:
        pid, started = map(int, path.read_text().split())
    except (OSError, ValueError):
        return None
    found = stat(pid)
    return pid if found is not None and found.alive and found.started == started else None


def recorded(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every pid file in the folder whose process is still alive."""
    for path in sorted(folder.glob("*.pid")):
        pid = read_pid_file(path)
        if pid is not None:
            yield path, pid


def end_sessions(leaders: list[int], grace: float) -> None:
    """End sessions that are not our children: SIGTERM to the leaders, SIGKILL to what is left after `grace` s."""
    for leader in leaders:
        try:
            os.kill(leader, signal.SIGTERM)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + grace
    while any(session_members(leader) for leader in leaders):
        if time.monotonic() > deadline:
            for leader in leaders:
                signal_session(leader, signal.SIGKILL)
        time.sleep(0.05)
