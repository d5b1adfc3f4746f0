"""The worker of notification: relays its events, tells customers of those of others, sends what leaves the house."""

import time
from functools import partial

from flask import Flask

from common.db import reading, transaction
from common.messaging.worker import Job, run_worker
from notification import messages, providers, rendering
from notification.app import create_app
from notification.config import Settings
from notification.handlers import HANDLERS
from notification.models import Channel
from notification.sending import Sender
from notification.use_cases.broadcasts import JOB, continue_broadcasts
from notification.use_cases.receipts import apply_early_receipts
from notification.use_cases.telling import sending_job
from notification.use_cases.texts import newest_texts

EVERY_S = 5.0
TEXTS_EVERY_S = 2.0
BROADCASTS_EVERY_S = 0.5
RESPITE_S = 0.01


def senders(settings: Settings) -> list[Sender]:
    """One per channel, so that a provider that is away delays no other channel."""
    hands = settings.sending_hands
    http = providers.http_for_targets(settings)
    make_email = partial(messages.make_email, public_url=settings.public_url)
    found = [
        Sender(Channel.EMAIL, make_email, lambda: providers.email_providers(settings), hands=hands),
        Sender(Channel.SMS, messages.make_sms, lambda: providers.sms_providers(settings), hands=hands),
        Sender(
            Channel.WEBHOOK,
            messages.make_webhook_call,
            lambda: [providers.webhook_provider(settings, http)],
            hands=2 * hands,
            per_target=True,
        ),
    ]
    push = providers.push_provider(settings, http)
    if push is not None:
        found.append(
            Sender(Channel.PUSH, messages.make_push, lambda: [push], hands=2 * hands, per_target=True)
        )
    return found


def jobs(settings: Settings) -> list[Job]:
    """Every worker sends: messages are claimed, so two share the work."""
    return [
        Job("texts", TEXTS_EVERY_S, use_changed_texts, leader_only=False),
        Job("early-receipts", EVERY_S, take_early_receipts),
        Job(JOB, BROADCASTS_EVERY_S, go_on_with_broadcasts),
        *(
            Job(sending_job(sender.channel), EVERY_S, sender.run, leader_only=False)
            for sender in senders(settings)
        ),
    ]


def use_changed_texts() -> None:
    """Take over what staff have written."""
    with reading() as session:
        rendering.use_changed(newest_texts(session))


def take_early_receipts() -> bool:
    with transaction() as session:
        return apply_early_receipts(session)


def go_on_with_broadcasts() -> bool:
    """After a batch the others have the database for as long: of SQLite's writers the one that comes again at once
    would always be first."""
    began = time.monotonic()
    with transaction() as session:
        more = continue_broadcasts(session)
    if more:
        time.sleep(max(RESPITE_S, time.monotonic() - began))
    return more


def main() -> None:
    app: Flask = create_app()
    run_worker(
        app,
        consumers={"notification.inbox": HANDLERS},
        jobs=jobs(app.extensions["sricare_settings"]),
    )


if __name__ == "__main__":
    main()
