"""The worker of chat: relays its events, keeps its copy of users' names, tells of missed messages."""

from chat import use_cases
from chat.app import create_app
from chat.handlers import HANDLERS
from common.db import transaction
from common.messaging.worker import Job, run_worker


def tell_of_missed_messages() -> bool:
    with transaction() as session:
        return use_cases.tell_of_missed_messages(session)


def main() -> None:
    jobs = [Job("missed-messages", every_s=5.0, run=tell_of_missed_messages)]
    run_worker(create_app(), consumers={"chat.inbox": HANDLERS}, jobs=jobs)


if __name__ == "__main__":
    main()
