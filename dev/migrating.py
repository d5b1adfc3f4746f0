"""The migrations of several services in one process, as `dev.platform` runs them: what all services share, most of what
a process of each would take, is imported once.

`python -m dev.migrating FOLDER SERVICE…` puts what each says into FOLDER/SERVICE-migrate.log, prints the names of those
that failed, and ends with 1 when there are any.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path

from common.db import db, upgrade


def main() -> int:
    folder, *services = sys.argv[1:]
    answer = os.dup(sys.stdout.fileno())
    failed = [service for service in services if not _migrated(service, Path(folder))]
    os.write(answer, " ".join(failed).encode())
    return 1 if failed else 0


def _migrated(service: str, folder: Path) -> bool:
    with (folder / f"{service}-migrate.log").open("wb") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    try:
        app = importlib.import_module(f"{service}.app").create_app()
        with app.app_context():
            upgrade()
            db.engine.dispose()
    except (Exception, SystemExit):  # noqa: BLE001 (whatever it is: it is in the log, and the next one is migrated)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
