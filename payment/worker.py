"""The worker of payment: relays its events, consumes, moves on what a request left open."""

from common.messaging.worker import Job, run_worker
from payment.app import create_app
from payment.handlers import HANDLERS
from payment.jobs import advance_payments, compare_settlements, forget_methods, make_refunds, send_callbacks


def main() -> None:
    run_worker(
        create_app(),
        consumers={"payment.inbox": HANDLERS},
        jobs=[
            Job("payments", every_s=1.0, run=advance_payments),
            Job("refunds", every_s=1.0, run=make_refunds),
            Job("methods", every_s=30.0, run=forget_methods),
            Job("reconciliations", every_s=5.0, run=compare_settlements),
            Job("callbacks", every_s=1.0, run=send_callbacks),
        ],
    )


if __name__ == "__main__":
    main()
