"""A mail server that is away: every e-mail comes once when it is back, and nothing else waits for it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import orjson
import pytest
from flask import Flask
from sqlalchemy import select

from common import clock, ids
from common.db import reading
from common.messaging import new_event
from dev.ports import free_ports
from notification import providers
from notification.config import Settings
from notification.messages import make_email, make_sms
from notification.models import Channel, Delivery
from notification.sending import Sender
from tests.support.eventually import eventually
from tests.support.http_sink import http_sink
from tests.support.mail import Mailbox, serving
from tests.support.notification_worker import publish, worker
from tests.support.notifications import FakeProvider, a_customer, sample, tell, user_data
from tests.support.services import service_fixtures

database_url, app, client = service_fixtures("notification")
MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
CUSTOMERS = 8


def settings_for(app: Flask, port: int) -> Settings:
    settings: Settings = app.extensions["sricare_settings"]
    return settings.model_copy(update={"smtp_host": f"127.0.0.1:{port}", "smtp_security": "none"})


def states(channel: Channel) -> Counter[str]:
    with reading() as session:
        rows = session.scalars(select(Delivery.state).where(Delivery.channel == channel))
        return Counter(state.value for state in rows)


def test_ten_minutes_without_a_mail_server_lose_nothing_and_sms_keep_their_pace(app: Flask) -> None:
    (port,), sms, mailbox = free_ports(1), FakeProvider("sms"), Mailbox()
    by_mail = Sender(
        Channel.EMAIL,
        partial(make_email, public_url="https://care.example"),
        lambda: providers.email_providers(settings_for(app, port)),
        hands=2,
    )
    by_sms = Sender(Channel.SMS, make_sms, lambda: [sms])
    for second in range(0, 600, 20):
        with clock.frozen(MORNING + timedelta(seconds=second)):
            tell("service.activated", a_customer())
            by_mail.run()
            by_sms.run()
        assert len(sms.taken) == second // 20 + 1, "each SMS goes in the moment of its event"
    assert states(Channel.EMAIL)["sent"] == 0
    with serving(mailbox, port):
        for second in range(600, 1200, 20):
            with clock.frozen(MORNING + timedelta(seconds=second)):
                while by_mail.run():
                    pass
    assert states(Channel.EMAIL) == {"sent": 60}
    assert len({mail["Message-ID"] for mail in mailbox.messages}) == len(mailbox.messages) == 60


@pytest.mark.broker
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_workers_sms_go_out_while_its_mail_server_is_away(
    app: Flask, tmp_path: Path, broker_url: str
) -> None:
    (port,), mailbox = free_ports(1), Mailbox()
    users = [ids.new_id() for _ in range(CUSTOMERS)]
    events = [
        (kind, new_event(kind, subject=user_id, data=data).body.encode())
        for user_id in users
        for kind, data in (
            ("user.created", user_data(user_id)),
            ("service.activated", sample("service.activated", user_id)),
        )
    ]
    with http_sink() as sink:
        settings = {
            "smtp_host": f"127.0.0.1:{port}",
            "smtp_security": "none",
            "sms_providers": "http",
            "sms_http_url": f"{sink.url}/sms",
        }
        with worker(app, tmp_path, broker_url, **settings):
            publish(broker_url, events)
            eventually(lambda: states(Channel.SMS) == {"sent": CUSTOMERS}, within=30, every=0.1)
            assert states(Channel.EMAIL)["sent"] == 0
            with serving(mailbox, port):
                eventually(lambda: states(Channel.EMAIL) == {"sent": 2 * CUSTOMERS}, within=60, every=0.2)
    assert len({orjson.loads(got.body)["id"] for got in sink.got}) == len(sink.got) == CUSTOMERS
    assert len({mail["Message-ID"] for mail in mailbox.messages}) == len(mailbox.messages) == 2 * CUSTOMERS
