"""The worker of provisioning: relays its events, handles others', tells the network elements."""

from datetime import timedelta

from common.messaging.worker import Job, run_worker
from provisioning.app import create_app
from provisioning.config import Settings
from provisioning.gateway import connect_elements
from provisioning.handlers import HANDLERS
from provisioning.jobs import CommandRunner, end_validities, expire_unpaid_orders
from provisioning.use_cases.commands import COMMANDS_JOB


def main() -> None:
    app = create_app()
    settings: Settings = app.extensions["sricare_settings"]
    runner = CommandRunner(
        app,
        connect_elements(settings),
        threads=settings.element_threads,
        lease=timedelta(seconds=settings.element_lease_s),
    )
    unpaid_life = timedelta(seconds=settings.unpaid_order_life_s)
    run_worker(
        app,
        consumers={"provisioning.inbox": HANDLERS},
        jobs=[
            Job(COMMANDS_JOB, 1.0, runner.run),
            Job("unpaid-orders", 60.0, lambda: expire_unpaid_orders(unpaid_life)),
            Job("validities", 60.0, end_validities),
        ],
    )
    runner.close()


if __name__ == "__main__":
    main()
