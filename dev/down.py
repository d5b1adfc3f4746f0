"""`make down`: end what `make up` started, from another terminal."""

import os
import signal
import time

from dev.environment import Layout, current
from dev.platform import STOP_WITHIN
from dev.processes import end_sessions, read_pid_file, recorded
from dev.terminal import run, say

PATIENCE = 3 * STOP_WITHIN  # the services, then the broker


def main() -> None:
    layout = current()
    supervisor = read_pid_file(layout.home.supervisor)
    if supervisor is None and not any(recorded(layout.home.programs)):
        say("nothing is running")
        return
    if supervisor is not None:
        _stop_supervisor(layout, supervisor)
    end_sessions([pid for _, pid in recorded(layout.home.programs)], STOP_WITHIN)
    say("stopped")


def _stop_supervisor(layout: Layout, pid: int) -> None:
    """Ask `make up` to stop everything; end it by force when it does not."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while read_pid_file(layout.home.supervisor) == pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


if __name__ == "__main__":
    run(main)
