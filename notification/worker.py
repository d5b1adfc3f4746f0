"""The worker of notification: relays its events, tells customers of those of others, sends e-mail and SMS."""

import logging
from collections.abc import Callable
from typing import Any, TypedDict

from flask import Flask
from jinja2 import TemplateError

from common.db import transaction
from common.messaging.worker import Job, run_worker
from notification import rendering, use_cases
from notification.app import create_app
from notification.config import Settings
from notification.gateway import (
    DeliveryFailed,
    Email,
    EmailSink,
    PermanentFailure,
    Provider,
    ProviderAway,
    Sms,
    SmsSink,
    SmtpProvider,
)
from notification.handlers import HANDLERS
from notification.models import AttemptOutcome, Channel, Delivery

log = logging.getLogger(__name__)

EVERY_S = 5.0
MESSAGES_A_RUN = 20
"""Then the worker may stop, or say that it is alive, before the next run."""


class Outcome(TypedDict, total=False):
    """How an attempt ended, as `settle_attempt` takes it."""

    outcome: AttemptOutcome
    reason: str
    detail: str
    provider_reference: str | None
    provider_away: bool


def email_provider(settings: Settings) -> Provider[Email]:
    if settings.smtp_host is None:
        return EmailSink(settings.email_sink_dir, settings.email_from)
    return SmtpProvider(
        sender=settings.email_from,
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=settings.smtp_password,
        ca_file=settings.smtp_ca_file,
        timeout_s=settings.smtp_timeout_s,
    )


def make_email(delivery: Delivery) -> Email:
    subject, text, html = rendering.render_email(delivery.event_type, delivery.language, delivery.data)
    return Email(
        delivery.id,
        delivery.address,
        delivery.data["name"],
        delivery.language.value,
        subject,
        text,
        html,
    )


def make_sms(delivery: Delivery) -> Sms:
    words = rendering.render(delivery.event_type, delivery.language, Channel.SMS.value, delivery.data)
    return Sms(delivery.id, delivery.address, words.body)


def send_due(channel: Channel, make: Callable[[Delivery], Any], provider: Provider[Any]) -> bool:
    """Send what is due on a channel: claim, call outside of any transaction, settle. Whether there may be more.

    Settling one message and claiming the next share a transaction. While the provider is away one message
    tries, and the others wait without using up attempts.
    """
    more = False
    try:
        more = _send_some(channel, make, provider)
    finally:
        if not more:
            provider.close()
    return more


def _send_some(channel: Channel, make: Callable[[Delivery], Any], provider: Provider[Any]) -> bool:
    delivery: Delivery | None = None
    ended: Outcome = {}
    for left in range(MESSAGES_A_RUN, -1, -1):
        with transaction() as session:
            if delivery is not None:
                use_cases.settle_attempt(session, delivery_id=delivery.id, number=delivery.attempts, **ended)
            if left == 0 or ended.get("provider_away"):
                break
            delivery = use_cases.begin_attempt(
                session, channel=channel, provider=provider.name, lease=provider.lease
            )
        if delivery is None:
            return False
        ended = _attempt(delivery, make, provider)
    return not ended.get("provider_away")


def _attempt(delivery: Delivery, make: Callable[[Delivery], Any], provider: Provider[Any]) -> Outcome:
    try:
        reference = provider.send(make(delivery))
    except TemplateError as error:
        log.exception("message cannot be written", extra={"delivery_id": delivery.id})
        return {"outcome": AttemptOutcome.PERMANENT_FAILURE, "reason": "template", "detail": str(error)}
    except DeliveryFailed as error:
        log.warning("message not sent: %s", error, extra={"delivery_id": delivery.id})
        return {
            "outcome": AttemptOutcome.PERMANENT_FAILURE
            if isinstance(error, PermanentFailure)
            else AttemptOutcome.TEMPORARY_FAILURE,
            "reason": error.reason,
            "detail": str(error),
            "provider_away": isinstance(error, ProviderAway),
        }
    return {"outcome": AttemptOutcome.SENT, "provider_reference": reference}


def jobs(settings: Settings) -> list[Job]:
    """One job per channel, so that a provider that is away delays no other channel."""
    by_email, by_sms = email_provider(settings), SmsSink(settings.sms_sink_dir)
    return [
        Job(
            use_cases.sending_job(Channel.EMAIL),
            EVERY_S,
            lambda: send_due(Channel.EMAIL, make_email, by_email),
        ),
        Job(use_cases.sending_job(Channel.SMS), EVERY_S, lambda: send_due(Channel.SMS, make_sms, by_sms)),
    ]


def main() -> None:
    app: Flask = create_app()
    run_worker(
        app,
        consumers={"notification.inbox": HANDLERS},
        jobs=jobs(app.extensions["sricare_settings"]),
    )


if __name__ == "__main__":
    main()
