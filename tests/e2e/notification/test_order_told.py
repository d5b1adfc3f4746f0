"""One order, told in three languages by every way out: in the app, by e-mail over SMTP, SMS over HTTP, and webhook."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from common import ids
from common.db import db, upgrade
from common.messaging import new_event
from notification.gateway.webhooks import is_signed
from tests.support.eventually import eventually
from tests.support.http_sink import HttpSink, http_sink
from tests.support.mail import Mailbox, serving
from tests.support.notification_worker import publish, worker
from tests.support.notifications import NAMES, sample, user_data
from tests.support.services import bearer, make_app

pytestmark = pytest.mark.broker
URL = "/api/notifications"
ORDER = ("order.created", "payment.completed", "service.activated")
SCRIPT = {"si": r"[\u0d80-\u0dff]", "ta": r"[\u0b80-\u0bff]", "en": r"^[\x00-\x7f]+$"}


@pytest.fixture(params=["sqlite", "postgres"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    made = make_app("notification", url, tmp_path, private_targets=True)
    with made.app_context():
        upgrade()
        yield made
        db.engine.dispose()


def buyer(app: Flask, sink: HttpSink, language: str) -> str:
    """A customer-to-be with a webhook at the sink."""
    user_id = ids.new_id()
    answer = app.test_client().post(
        f"{URL}/webhooks", json={"url": f"{sink.url}/hook/{language}"}, headers=bearer(user_id)
    )
    assert answer.status_code == 201, answer.text
    app.config[f"secret-{language}"] = answer.json["secret"]
    return user_id


def story(user_id: str, language: str) -> list[tuple[str, bytes]]:
    profile = user_data(user_id, language=language, email=f"{language}@example.lk")
    events = [("user.created", profile)]
    of_an_order = {"reference": {"type": "order", "id": ids.new_id()}}
    events += [
        (kind, sample(kind, user_id, **(of_an_order if kind == "payment.completed" else {})))
        for kind in ORDER
    ]
    return [(kind, new_event(kind, subject=user_id, data=data).body.encode()) for kind, data in events]


def test_an_order_is_told_in_three_languages_by_every_way_out(
    app: Flask, tmp_path: Path, broker_url: str
) -> None:
    mailbox = Mailbox()
    with http_sink() as sink, serving(mailbox) as port:
        buyers = {language: buyer(app, sink, language) for language in NAMES}
        settings = {
            "smtp_host": f"127.0.0.1:{port}",
            "smtp_security": "none",
            "sms_providers": "http",
            "sms_http_url": f"{sink.url}/sms",
            "private_targets": "true",
        }
        with worker(app, tmp_path, broker_url, **settings):
            publish(
                broker_url, [event for language, user in buyers.items() for event in story(user, language)]
            )
            # For each: an e-mail of each event; an SMS of the activation; all four by webhook.
            eventually(lambda: _all_of(mailbox, sink), within=20)
    for language, user_id in buyers.items():
        _check(app, user_id, language, mailbox, sink)


def _all_of(mailbox: Mailbox, sink: HttpSink) -> bool:
    got = Counter(["mail"] * len(mailbox.messages) + [got.path for got in sink.got])
    assert got == {"mail": 12, "/sms": 3} | {f"/hook/{language}": 4 for language in NAMES}
    return True


def _check(app: Flask, user_id: str, language: str, mailbox: Mailbox, sink: HttpSink) -> None:
    inbox = app.test_client().get(URL, headers=bearer(user_id)).json["items"]
    assert {item["event_type"] for item in inbox} == {"user.created", *ORDER}
    mails = [
        mail for mail in mailbox.messages if mail["To"].addresses[0].addr_spec == f"{language}@example.lk"
    ]
    texts = [part.get_content() for mail in mails if (part := mail.get_body(("plain",))) is not None]
    hooks = [got for got in sink.got if got.path == f"/hook/{language}"]
    for got in hooks:
        assert is_signed(app.config[f"secret-{language}"], got.headers, got.body)
    calls: list[dict[str, Any]] = [orjson.loads(got.body) for got in hooks]
    assert {call["type"] for call in calls} == {"user.created", *ORDER}
    activated = next(item["body"] for item in inbox if item["event_type"] == "service.activated")
    assert next(call["data"]["body"] for call in calls if call["type"] == "service.activated") == activated
    sms = [orjson.loads(got.body)["text"] for got in sink.got if got.path == "/sms"]
    assert len([text for text in sms if re.search(SCRIPT[language], text)]) == 1
    assert len(texts) == 4
    for text in (*texts, *(item["body"] for item in inbox)):
        assert re.search(SCRIPT[language], text.replace("Dear ", "")) or language == "en"
