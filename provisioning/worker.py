"""The worker of provisioning: relays its events, handles others', tells the network elements."""

from datetime import timedelta

from common.messaging.worker import Job, run_worker
from provisioning.app import create_app
from provisioning.config import Settings
from provisioning.gateway import connect_elements
from provisioning.handlers import HANDLERS
from provisioning.jobs import (
    CommandRunner,
    end_validities,
    expire_unpaid_orders,
    give_up_orders,
    read_deliveries,
    show_elements,
    warn_of_ends,
)
from provisioning.models import Element
from provisioning.use_cases import inventory
from provisioning.use_cases.commands import job_of


def main() -> None:
    app = create_app()
    settings: Settings = app.extensions["sricare_settings"]
    quarantine = timedelta(days=settings.quarantine_days)
    elements, rules = connect_elements(settings), settings.call_rules
    runners = {
        kind: CommandRunner(
            app, elements, kind, threads=settings.element_threads, rules=rules, quarantine=quarantine
        )
        for kind in Element
    }
    unpaid_life = timedelta(seconds=settings.unpaid_order_life_s)
    deadline = timedelta(seconds=settings.activation_deadline_s)
    run_worker(
        app,
        consumers={"provisioning.inbox": HANDLERS},
        jobs=[
            *(Job(job_of(kind), 1.0, runner.run, leader_only=False) for kind, runner in runners.items()),
            Job("overdue-orders", 30.0, lambda: give_up_orders(deadline, rules.lease, quarantine)),
            Job("element-figures", 15.0, show_elements),
            Job("unpaid-orders", 60.0, lambda: expire_unpaid_orders(unpaid_life)),
            Job(inventory.JOB, 30.0, read_deliveries),
            Job("warnings", 60.0, warn_of_ends),
            Job("validities", 60.0, end_validities),
        ],
    )
    for runner in runners.values():
        runner.close()
    elements.close()


if __name__ == "__main__":
    main()
