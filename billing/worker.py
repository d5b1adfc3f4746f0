"""The worker of billing: relays its events, follows users and payments, bills, duns every day."""

from flask import current_app

from billing.app import create_app
from billing.config import Settings
from billing.handlers import HANDLERS
from billing.use_cases.billing_runs import advance_run
from billing.use_cases.dunning import advance_due_run
from common.db import transaction
from common.messaging.worker import Job, run_worker

LOOK_EVERY_S = 300.0
"""How soon after midnight the day's dunning run begins."""
HELP_EVERY_S = 5.0
"""How soon further workers help with a billing run, or go on with what a killed one has left."""


def dun() -> bool:
    """Go on with the day's dunning run; whether there is more to do."""
    settings: Settings = current_app.extensions["sricare_settings"]
    with transaction() as session:
        return advance_due_run(session, settings.dunning)


def bill() -> bool:
    """Take the next slice of a billing run; whether there is more to do."""
    settings: Settings = current_app.extensions["sricare_settings"]
    with transaction() as session:
        return advance_run(session, settings.billing_terms)


def main() -> None:
    jobs = [Job("dunning", LOOK_EVERY_S, dun), Job("billing", HELP_EVERY_S, bill, leader_only=False)]
    run_worker(create_app(), consumers={"billing.inbox": HANDLERS}, jobs=jobs)


if __name__ == "__main__":
    main()
