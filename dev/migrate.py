"""`make migrate`: bring the databases of all services, or of one, to the newest schema."""

import asyncio
import sys

from dev.environment import SERVICES, current
from dev.platform import migrate
from dev.terminal import Trouble, run, say


def main() -> None:
    wish = sys.argv[1] if len(sys.argv) > 1 else "all"
    if wish not in (*SERVICES, "all"):
        raise Trouble(f"there is no service {wish}; choose from {', '.join(SERVICES)} or all")
    services = SERVICES if wish == "all" else (wish,)
    layout = current()
    layout.home.prepare()
    asyncio.run(migrate(layout, services))
    say(f"{', '.join(services)}: at the newest schema")


if __name__ == "__main__":
    run(main)
