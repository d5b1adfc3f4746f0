"""The relay of provisioning by itself: publishes its events, beside workers or instead of them (`WORKER_RELAYS`)."""

from common.messaging.worker import run_relay
from provisioning.app import create_app


def main() -> None:
    run_relay(create_app())


if __name__ == "__main__":
    main()
