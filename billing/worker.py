"""The worker of billing: relays its events, follows users and payments, duns every day."""

from flask import current_app

from billing.app import create_app
from billing.config import Settings
from billing.handlers import HANDLERS
from billing.use_cases.dunning import advance_due_run
from common.db import transaction
from common.messaging.worker import Job, run_worker

LOOK_EVERY_S = 300.0
"""How soon after midnight the day's dunning run begins."""


def dun() -> bool:
    """Go on with the day's dunning run; whether there is more to do."""
    settings: Settings = current_app.extensions["sricare_settings"]
    with transaction() as session:
        return advance_due_run(session, settings.dunning)


def main() -> None:
    run_worker(create_app(), consumers={"billing.inbox": HANDLERS}, jobs=[Job("dunning", LOOK_EVERY_S, dun)])


if __name__ == "__main__":
    main()
