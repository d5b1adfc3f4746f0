"""`make logs`: follow what all processes of the running platform print."""

import os

from dev.environment import current
from dev.terminal import Trouble, run


def main() -> None:
    logs = sorted(current().home.log.glob("*.log"))
    if not logs:
        raise Trouble("there are no logs yet: `make up` starts the platform")
    os.execvp("tail", ["tail", "--lines=5", "--follow=name", *map(str, logs)])  # noqa: S606


if __name__ == "__main__":
    run(main)
