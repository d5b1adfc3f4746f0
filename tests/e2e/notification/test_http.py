"""SMS gateways, webhooks and web push against a real HTTP server, over real sockets."""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from common import ids
from notification.gateway import (
    DeliveryFailed,
    OutcomeUnknown,
    PermanentFailure,
    ProviderAway,
    Push,
    Sms,
    TemporaryFailure,
    WebhookCall,
)
from notification.gateway.outbound import ANSWER_LIMIT, Http, NoAnswer
from notification.gateway.push import GONE, VapidKey, WebPush, decode
from notification.gateway.sms import HttpSms, TwilioSms
from notification.gateway.webhooks import WebhookSender, is_signed, new_secret
from tests.support.http_sink import HttpSink, http_sink

MESSAGE = Sms(ids.new_id(), "+94771234567", "ක්‍රියාත්මකයි")
VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
PATIENCE_S = 15.0


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink() as running:
        yield running


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(timeout_s=PATIENCE_S, public_only=False)
    yield made
    made.close()


def gateway(http: Http, sink: HttpSink) -> HttpSms:
    return HttpSms(http, url=f"{sink.url}/send", token="a token", sender="SriCare", timeout_s=PATIENCE_S)


def twilio(http: Http, sink: HttpSink) -> TwilioSms:
    return TwilioSms(
        http,
        url=sink.url,
        account="AC1",
        token="t",
        sender="+15550001",
        status_url="https://x/y",
        timeout_s=PATIENCE_S,
    )


def hook(sink: HttpSink) -> WebhookCall:
    return WebhookCall(ids.new_id(), f"{sink.url}/hook", new_secret(), b'{"type":"x"}')


def a_push(sink: HttpSink) -> Push:
    return Push(ids.new_id(), f"{sink.url}/push", P256DH, AUTH, b'{"title":"x"}')


def test_an_sms_goes_over_a_kept_connection_with_its_id_as_key(http: Http, sink: HttpSink) -> None:
    sink.answer = lambda _: (202, {}, b'{"id": "gw-7"}')
    sender = gateway(http, sink)
    assert [sender.send(MESSAGE) for _ in range(3)] == ["gw-7"] * 3
    assert sink.connections == 1
    got = sink.got[0]
    assert (got.headers["authorization"], got.headers["idempotency-key"]) == ("Bearer a token", MESSAGE.id)
    expected = {"id": MESSAGE.id, "from": "SriCare", "to": MESSAGE.to, "text": MESSAGE.body}
    assert orjson.loads(got.body) == expected


def test_an_sms_goes_by_twilio(http: Http, sink: HttpSink) -> None:
    sink.answer = lambda _: (201, {}, b'{"sid": "SM123", "status": "queued"}')
    assert twilio(http, sink).send(MESSAGE) == "SM123"
    got = sink.got[0]
    assert got.path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert got.headers["authorization"] == "Basic " + base64.b64encode(b"AC1:t").decode()
    form = parse_qs(got.body.decode())
    assert (form["To"], form["Body"], form["From"]) == ([MESSAGE.to], [MESSAGE.body], ["+15550001"])


@pytest.mark.parametrize(
    ("status", "failure"),
    [(500, ProviderAway), (503, ProviderAway), (429, ProviderAway), (401, ProviderAway), (302, ProviderAway),
     (400, PermanentFailure), (422, PermanentFailure)],
)  # fmt: skip
@pytest.mark.parametrize("make", [gateway, twilio])
def test_what_an_sms_provider_answers_says_whether_to_try_again(
    http: Http, sink: HttpSink, make: object, status: int, failure: type[DeliveryFailed]
) -> None:
    sink.answer = lambda _: (status, {"Location": f"{sink.url}/elsewhere"}, b"no")
    with pytest.raises(failure) as refused:
        make(http, sink).send(MESSAGE)  # type: ignore[operator]
    assert type(refused.value) is failure
    assert len(sink.got) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"id": {}}', b"\xff\x00", b'{"id": ' + b"9" * 200_000]
)
def test_a_garbled_yes_is_a_yes(http: Http, sink: HttpSink, body: bytes) -> None:
    sink.answer = lambda _: (200, {}, body)
    assert gateway(http, sink).send(MESSAGE) == MESSAGE.id


def test_half_an_answer_and_none_in_time_leave_it_open_whether_it_was_taken(
    http: Http, sink: HttpSink
) -> None:
    sink.answer = lambda _: (0, {}, b"HTTP/1.1 200 OK\r\nContent-Le")
    with pytest.raises(OutcomeUnknown):
        gateway(http, sink).send(MESSAGE)

    given_up = threading.Event()

    def slow(_: object) -> tuple[int, dict[str, str], bytes]:
        given_up.wait()
        return 200, {}, b"{}"

    sink.answer = slow
    impatient = Http(timeout_s=0.3, public_only=False)
    with pytest.raises(OutcomeUnknown):
        gateway(impatient, sink).send(MESSAGE)
    given_up.set()
    impatient.close()


def test_who_answers_a_byte_at_a_time_is_left() -> None:
    """Each byte comes within the time-out, all of them would take half a minute."""
    sent = 0

    def drip(server: socket.socket) -> None:
        nonlocal sent
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while sent < 600 and not left.wait(0.05):
                connection.sendall(b"x")
                sent += 1

    left = threading.Event()
    impatient = Http(timeout_s=0.5, public_only=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        dripping = threading.Thread(target=drip, args=(server,))
        dripping.start()
        with pytest.raises(NoAnswer):
            impatient.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"{}")
        left.set()
        dripping.join()
    impatient.close()
    assert sent < 600


def test_a_gateway_that_is_not_there_got_nothing(http: Http) -> None:
    nobody = HttpSms(http, url="http://127.0.0.1:9/", token=None, sender="x", timeout_s=PATIENCE_S)
    with pytest.raises(ProviderAway) as away:
        nobody.send(MESSAGE)
    assert not isinstance(away.value, OutcomeUnknown)


def test_an_endless_answer_is_left_early(http: Http, sink: HttpSink) -> None:
    sink.answer = lambda _: (200, {}, b"x" * 5_000_000)
    assert len(http.post(f"{sink.url}/", {}, b"").body) == ANSWER_LIMIT


def test_a_webhook_is_signed_and_its_repeat_has_the_same_id_and_body(http: Http, sink: HttpSink) -> None:
    message = hook(sink)
    for _ in range(2):
        WebhookSender(http, timeout_s=PATIENCE_S).send(message)
    first, second = sink.got
    assert first.body == second.body == message.payload
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == message.id
    assert is_signed(message.secret, first.headers, first.body)


def test_a_redirect_is_not_followed(http: Http, sink: HttpSink) -> None:
    sink.answer = lambda _: (307, {"Location": "http://169.254.169.254/latest/meta-data"}, b"")
    with pytest.raises(TemporaryFailure):
        WebhookSender(http, timeout_s=PATIENCE_S).send(hook(sink))
    assert len(sink.got) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "169.254.169.254"]
)
def test_no_local_address_is_called_whatever_it_is_called(sink: HttpSink, host: str) -> None:
    """The second check, at the connection: the first was at registration."""
    public = Http(timeout_s=0.3, public_only=True)
    url = sink.url.replace("127.0.0.1", host)
    with pytest.raises(PermanentFailure) as refused:
        WebhookSender(public, timeout_s=PATIENCE_S).send(WebhookCall("1", url, new_secret(), b"{}"))
    assert refused.value.reason == "address_not_allowed"
    assert sink.connections == 0


def test_a_push_is_identified_and_unreadable_to_the_push_service(http: Http, sink: HttpSink) -> None:
    sink.answer = lambda _: (201, {}, b"")
    key = VapidKey(VAPID)
    WebPush(http, key=key, contact="mailto:ops@example.lk", timeout_s=PATIENCE_S).send(a_push(sink))
    (got,) = sink.got
    assert got.headers["content-encoding"] == "aes128gcm"
    assert b"title" not in got.body
    token, given = (part.partition("=")[2] for part in got.headers["authorization"][6:].split(", "))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(given))
    claims = jwt.decode(token, point, algorithms=["ES256"], audience=sink.url)
    assert claims["sub"] == "mailto:ops@example.lk"


@pytest.mark.parametrize(("status", "reason"), [(404, GONE), (410, GONE), (413, "too_long")])
def test_a_subscription_that_is_gone_is_told_from_trouble(
    http: Http, sink: HttpSink, status: int, reason: str
) -> None:
    sender = WebPush(http, key=VapidKey(VAPID), contact="mailto:ops@example.lk", timeout_s=PATIENCE_S)
    sink.answer = lambda _: (status, {}, b"")
    with pytest.raises(PermanentFailure) as gone:
        sender.send(a_push(sink))
    assert gone.value.reason == reason
    sink.answer = lambda _: (503, {}, b"")
    with pytest.raises(TemporaryFailure):
        sender.send(a_push(sink))
