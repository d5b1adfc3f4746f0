"""`make up`: the whole platform on this machine, in the foreground until Ctrl-C or `make down`."""

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator

from dev import seed
from dev.environment import ROOT, Layout, current
from dev.platform import STOP_WITHIN, Platform
from dev.processes import end_sessions, recorded, write_pid_file
from dev.terminal import Trouble, run, say


def main() -> int:
    arguments = _parse()
    layout = current()
    layout.home.prepare()
    with _only_one(layout):
        _end_leftovers(layout)
        return asyncio.run(
            _until_stopped(Platform(layout, arguments.without), with_demo=not arguments.no_seed)
        )


async def _until_stopped(platform: Platform, *, with_demo: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopping = False

    def on_signal() -> None:
        nonlocal stopping
        if stopping:
            platform.supervisor.kill()
        else:
            stopping = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    try:
        await platform.start()
        if with_demo:
            await _seed(platform)
        say(seed.table(platform.layout))
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task.uncancel()
    finally:
        stopping = True
        began = time.monotonic()
        say("stopping")
        await platform.stop()
        say(f"stopped everything in {time.monotonic() - began:.1f} s")
    return 0


async def _seed(platform: Platform) -> None:
    say("seeding the demo operator")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "dev.seed"),
        cwd=ROOT,
        env=platform.layout.environment(platform.broker_url),
    )
    try:
        if await process.wait() != 0:
            say("the demo operator is incomplete; everything else runs")
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise


@contextlib.contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    """Hold this home for one `make up`; the lock goes with the process, however it ends."""
    with (layout.home.run / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("the platform is running already: `make down` stops it") from None
        write_pid_file(layout.home.supervisor, os.getpid())
        yield
        layout.home.supervisor.unlink(missing_ok=True)


def _end_leftovers(layout: Layout) -> None:
    """End what an earlier `make up` left behind when it was killed itself."""
    leftovers = [pid for _, pid in recorded(layout.home.programs)]
    if leftovers:
        say(f"ending {len(leftovers)} processes that an earlier run left behind")
        end_sessions(leftovers, STOP_WITHIN)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.up", description=__doc__)
    parser.add_argument("--no-seed", action="store_true", help="leave out the demo operator")
    parser.add_argument(
        "--without", action="append", default=[], metavar="PROCESS", help="e.g. billing-worker"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
