"""How the commands of `dev` speak: progress on stdout, one clear line on stderr when they cannot go on."""

import contextlib
import sys
from collections.abc import Callable
from typing import NoReturn


class Trouble(Exception):
    """Something the person at the terminal has to know or do; its text is the one line they see."""


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone: what runs must still be stopped in order
        print(text, flush=True)


def run(command: Callable[[], int | None]) -> NoReturn:
    """Run a command to its exit code; a `Trouble` becomes one line on stderr and exit code 1."""
    try:
        code = command() or 0
    except Trouble as trouble:
        print(f"sri-care: {trouble}", file=sys.stderr, flush=True)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
