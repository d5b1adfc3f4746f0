"""Webhooks and browsers: added, checked, called, disabled, forgotten."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpcore
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import clock
from common.db import db, reading
from notification.gateway import PermanentFailure, TemporaryFailure
from notification.gateway.outbound import AddressNotAllowed, PublicOnly, is_public, refusal_of
from notification.gateway.push import VapidKey, _point, decode, encrypt
from notification.gateway.webhooks import is_signed, sign
from notification.messages import make_push, make_webhook_call
from notification.models import Channel, Delivery, Device, Webhook
from notification.sending import Sender
from notification.use_cases.endpoints import WEBHOOKS_EACH
from tests.support.notifications import FakeProvider, a_customer, tell
from tests.support.services import bearer, make_app

URL = "/api/notifications"
VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
KEYS = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
MORNING = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def add_webhook(client: FlaskClient, user_id: str, **fields: Any) -> Any:
    body = {"url": "https://hooks.example.lk/in"} | fields
    answer = client.post(f"{URL}/webhooks", json=body, headers=bearer(user_id))
    assert answer.status_code == 201, answer.text
    return answer.json


def call_webhooks(provider: FakeProvider) -> None:
    Sender(Channel.WEBHOOK, make_webhook_call, lambda: [provider], per_target=True).run()


def test_each_webhook_gets_each_event_once_in_words_and_data(client: FlaskClient) -> None:
    user_id = a_customer(language="ta")
    first, second = add_webhook(client, user_id), add_webhook(client, user_id, event_types=["invoice.paid"])
    event = tell("invoice.paid", user_id)
    tell("order.cancelled", user_id)
    provider = FakeProvider()
    call_webhooks(provider)
    got = sorted((orjson.loads(call.payload)["type"], call.secret) for call in provider.taken)
    expected = [("invoice.paid", first["secret"]), ("invoice.paid", second["secret"])]
    assert got == sorted([*expected, ("order.cancelled", first["secret"])])
    document, again = [call.payload for call in provider.taken if b"invoice.paid" in call.payload]
    data = orjson.loads(document)["data"]
    assert orjson.loads(again)["data"] == data
    assert (data["event_id"], data["language"]) == (event.id, "ta")
    assert data["data"]["number"] == event.data["number"]


def test_the_secret_is_shown_once(client: FlaskClient) -> None:
    user_id = a_customer()
    made = add_webhook(client, user_id)
    assert made["secret"].startswith("whsec_")
    listed = client.get(f"{URL}/webhooks", headers=bearer(user_id)).json["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert "secret" not in listed[0]


def test_anothers_webhook_does_not_exist(client: FlaskClient) -> None:
    made = add_webhook(client, a_customer())
    other = bearer(a_customer())
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
    ):
        assert (
            client.open(f"{URL}/webhooks/{made['id']}{path}", method=method, headers=other).status_code == 404
        )


def test_a_customer_has_only_so_many(client: FlaskClient) -> None:
    user_id = a_customer()
    for _ in range(WEBHOOKS_EACH):
        add_webhook(client, user_id)
    answer = client.post(f"{URL}/webhooks", json={"url": "https://x.example.lk"}, headers=bearer(user_id))
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_webhooks")


NOT_OPEN = [
    "http://example.lk/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1./",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://10.0.0.1:8443/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://notification/",
    "https://db.internal/",
    "https://user:password@example.lk/",
    "https://example.lk\\@127.0.0.1/",
    "https://example.lk:99999/",
    "https://exa mple.lk/",
    "https://example.lk/\r\nX: y",
    "ftp://example.lk/",
    "file:///etc/passwd",
    "https:///x",
    "nonsense",
]


def test_an_address_that_is_not_of_the_open_internet_is_refused(client: FlaskClient) -> None:
    for url in NOT_OPEN:
        answer = client.post(f"{URL}/webhooks", json={"url": url}, headers=bearer())
        assert (answer.status_code, answer.json["code"]) == (422, "target_not_allowed"), url


@pytest.mark.parametrize(
    "url", ["https://example.lk/", "https://1.1.1.1:8443/x?y=z", "https://[2606:4700::1]/"]
)
def test_an_address_of_the_open_internet_is_taken(url: str) -> None:
    assert refusal_of(url, public_only=True) is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("0.0.0.0", False), ("10.1.2.3", False),  # noqa: S104
        ("100.64.0.1", False), ("169.254.169.254", False), ("192.168.1.1", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("::ffff:127.0.0.1", False), ("2002:7f00:1::", False), ("64:ff9b::a00:1", False), ("ff02::1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) == public


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is looked up once, and only what that gave is used."""
    answers = iter([["10.0.0.1", "203.0.113.0", "8.8.8.8"], ["127.0.0.1"]])

    def resolve(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in next(answers)]

    connected: list[str] = []

    def connect(_self: Any, host: str, port: int, *_: Any, **__: Any) -> None:
        connected.append(host)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    PublicOnly().connect_tcp("rebind.example", 443)
    with pytest.raises(AddressNotAllowed):
        PublicOnly().connect_tcp("rebind.example", 443)
    assert connected == ["8.8.8.8"]


def test_a_signature_is_the_one_of_standard_webhooks() -> None:
    """The example of the specification."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"v1,AAAA {signature}",
    }
    with clock.frozen(datetime.fromtimestamp(1614265330 + 60, UTC)):
        assert is_signed(secret, headers, body)
        assert not is_signed(secret, headers, body + b" ")
    assert not is_signed(secret, headers, body), "years later"


def test_a_webhook_that_fails_for_days_is_disabled_and_can_be_enabled_again(client: FlaskClient) -> None:
    with clock.frozen(MORNING):
        user_id = a_customer()
        made = add_webhook(client, user_id)
        provider = FakeProvider()
        provider.fails = TemporaryFailure("refused", "500")
        for _ in range(6):
            tell("invoice.paid", user_id)
            call_webhooks(provider)
            clock.move(timedelta(days=1))

        def state() -> str:
            shown = client.get(f"{URL}/webhooks/{made['id']}", headers=bearer(user_id)).json
            return str(shown["state"])

        assert state() == "disabled"
        calls = provider.calls
        tell("invoice.paid", user_id)
        call_webhooks(provider)
        assert provider.calls == calls
        client.post(f"{URL}/webhooks/{made['id']}/enable", headers=bearer(user_id))
        provider.fails = None
        event = tell("invoice.paid", user_id)
        call_webhooks(provider)
        assert (state(), len(provider.taken)) == ("active", 1)
        calls_made = client.get(f"{URL}/webhooks/{made['id']}/deliveries", headers=bearer(user_id)).json[
            "items"
        ]
        assert (calls_made[0]["event_id"], calls_made[0]["state"]) == (event.id, "sent")
        lost = next(item for item in calls_made if item["state"] == "permanent_failure")
        path = f"{URL}/webhooks/{made['id']}/deliveries/{lost['id']}/redeliver"
        assert client.post(path, headers=bearer(user_id)).status_code == 202
        call_webhooks(provider)
        assert len(provider.taken) == 2


def test_a_call_that_was_taken_can_be_had_again_with_the_same_id(client: FlaskClient) -> None:
    user_id = a_customer()
    made = add_webhook(client, user_id)
    tell("invoice.paid", user_id)
    provider = FakeProvider()
    call_webhooks(provider)
    path = f"{URL}/webhooks/{made['id']}/deliveries/{provider.taken[0].id}/redeliver"
    assert client.post(path, headers=bearer(user_id)).status_code == 202
    assert client.post(path, headers=bearer()).status_code == 404
    call_webhooks(provider)
    call_webhooks(provider)
    first, second = provider.taken
    assert (first.id, first.payload) == (second.id, second.payload)
    staff = bearer(None, "admin")
    detail = client.get(f"{URL}/admin/deliveries/{first.id}", headers=staff).json
    assert (detail["state"], [each["outcome"] for each in detail["tries"]]) == ("sent", ["sent", "sent"])
    refused = client.post(f"{URL}/admin/deliveries/{first.id}/retry", headers=staff)
    assert refused.json["code"] == "delivery_not_retryable", "staff send nobody a message twice"


def test_a_webhook_that_says_it_is_gone_is_disabled_at_once(client: FlaskClient) -> None:
    user_id = a_customer()
    add_webhook(client, user_id)
    tell("invoice.paid", user_id)
    provider = FakeProvider()
    provider.fails = PermanentFailure("gone")
    call_webhooks(provider)
    with reading() as session:
        assert session.scalars(select(Webhook)).one().disabled_reason == "gone"


def test_one_dead_target_neither_stops_nor_delays_another(client: FlaskClient) -> None:
    dead, alive = a_customer(), a_customer()
    add_webhook(client, dead, url="https://dead.example.lk/")
    add_webhook(client, alive)
    for _ in range(5):
        tell("invoice.paid", dead)
        tell("invoice.paid", alive)

    class Selective(FakeProvider):
        def send(self, message: Any) -> str | None:
            self.fails = TemporaryFailure("no_answer") if "dead" in message.url else None
            return super().send(message)

    provider = Selective()
    call_webhooks(provider)
    assert (len(provider.taken), provider.calls) == (5, 6), "a dead target is tried once, the living gets all"


def test_a_test_call_tells_of_nothing(client: FlaskClient) -> None:
    user_id = a_customer()
    made = add_webhook(client, user_id)
    assert client.post(f"{URL}/webhooks/{made['id']}/test", headers=bearer(user_id)).status_code == 202
    provider = FakeProvider()
    call_webhooks(provider)
    document = orjson.loads(provider.taken[0].payload)
    assert (document["type"], document["data"]) == ("webhook.test", {})


@pytest.fixture
def pushing(app: Flask, database_url: str, tmp_path: Any) -> Iterator[FlaskClient]:
    made = make_app("notification", database_url, tmp_path, vapid_private_key=VAPID)
    yield made.test_client()
    with made.app_context():
        db.engine.dispose()


def add_device(client: FlaskClient, user_id: str, endpoint: str = "https://push.example.com/abc") -> Any:
    body = {"endpoint": endpoint, "keys": KEYS, "expirationTime": None}
    return client.post(f"{URL}/devices", json=body, headers=bearer(user_id))


def push(provider: FakeProvider) -> None:
    Sender(Channel.PUSH, make_push, lambda: [provider], per_target=True).run()


def test_a_browser_is_told_in_the_in_app_words(pushing: FlaskClient) -> None:
    user_id = a_customer(language="si")
    assert add_device(pushing, user_id).status_code == 201
    tell("service.activated", user_id)
    provider = FakeProvider()
    push(provider)
    (message,) = provider.taken
    inbox = pushing.get(URL, headers=bearer(user_id)).json["items"]
    assert orjson.loads(message.payload)["body"] == inbox[0]["body"]
    assert len(message.payload) < 3000


def test_a_subscription_that_is_gone_is_forgotten(pushing: FlaskClient) -> None:
    user_id = a_customer()
    add_device(pushing, user_id)
    tell("service.activated", user_id)
    provider = FakeProvider()
    provider.fails = PermanentFailure("subscription_gone")
    push(provider)
    assert pushing.get(f"{URL}/devices", headers=bearer(user_id)).json["items"] == []
    tell("invoice.paid", user_id)
    with reading() as session:
        pushes = session.scalars(select(Delivery).where(Delivery.channel == Channel.PUSH)).all()
    assert len(pushes) == 1


def test_a_browser_belongs_to_who_signed_in_last(pushing: FlaskClient) -> None:
    first, second = a_customer(), a_customer()
    ids_given = {add_device(pushing, user).json["id"] for user in (first, first, second)}
    assert len(ids_given) == 1
    with reading() as session:
        assert session.scalars(select(Device)).one().user_id == second
    (device_id,) = ids_given
    assert pushing.delete(f"{URL}/devices/{device_id}", headers=bearer(first)).status_code == 404
    assert pushing.delete(f"{URL}/devices/{device_id}", headers=bearer(second)).status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "https://127.0.0.1/push"},
        {"keys": {"p256dh": "A" * 87, "auth": KEYS["auth"]}},
        {"keys": {"p256dh": KEYS["p256dh"], "auth": "A" * 30}},
        {"keys": {"p256dh": "*" * 87, "auth": KEYS["auth"]}},
    ],
)
def test_what_is_no_subscription_is_refused(pushing: FlaskClient, changes: dict[str, Any]) -> None:
    body = {"endpoint": "https://push.example.com/abc", "keys": KEYS} | changes
    answer = pushing.post(f"{URL}/devices", json=body, headers=bearer())
    assert (answer.status_code, answer.json["code"]) == (422, "target_not_allowed")


def test_without_a_key_no_browser_can_subscribe(client: FlaskClient) -> None:
    assert add_device(client, a_customer()).json["code"] == "push_not_configured"
    assert client.get(f"{URL}/devices/key", headers=bearer()).status_code == 409


def test_push_messages_are_encrypted_as_the_standard_says(pushing: FlaskClient) -> None:
    """The example of RFC 8291, appendix A."""
    sender = VapidKey(VAPID)._key
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        p256dh=decode(KEYS["p256dh"]),
        auth=decode(KEYS["auth"]),
        sender=sender,
        salt=decode("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert body == decode(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3j"
        "l7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    key = pushing.get(f"{URL}/devices/key", headers=bearer()).json["public_key"]
    assert decode(key) == _point(sender.public_key())
    assert isinstance(sender, ec.EllipticCurvePrivateKey)
