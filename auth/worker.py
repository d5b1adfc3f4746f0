"""The worker of auth: relays its events, keeps the audit trail, tidies up."""

from auth.app import create_app
from auth.handlers import AUDIT_HANDLERS
from auth.jobs import JOBS
from common.messaging.worker import run_worker


def main() -> None:
    run_worker(create_app(), consumers={"auth.audit": AUDIT_HANDLERS}, jobs=JOBS)


if __name__ == "__main__":
    main()
