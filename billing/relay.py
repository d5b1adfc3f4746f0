"""The relay of billing by itself: publishes its events, beside workers or instead of them (`WORKER_RELAYS`)."""

from billing.app import create_app
from common.messaging.worker import run_relay


def main() -> None:
    run_relay(create_app())


if __name__ == "__main__":
    main()
