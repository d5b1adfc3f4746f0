"""From a claimed delivery to the message that its provider carries."""

import math
from urllib.parse import urlencode

import orjson

from common import clock
from notification import rendering
from notification.gateway import Email, Push, Sms, WebhookCall, Wording
from notification.gateway.push import PAYLOAD_LIMIT
from notification.models import SECRETS, Channel, Delivery, Device, Webhook
from notification.rendering import Words
from notification.use_cases.endpoints import TEST_EVENT
from notification.use_cases.sending import Claimed
from notification.use_cases.telling import shown

UNSUBSCRIBE_PATH = "/api/notifications/unsubscribe"


def make_email(claimed: Claimed, public_url: str) -> Email:
    delivery = claimed.delivery
    words = _words(delivery, Channel.EMAIL.value)
    text, html = rendering.render_email(words, delivery.language, delivery.data)
    link = None
    if claimed.unsubscribe is not None:
        query = urlencode({"token": claimed.unsubscribe, "category": delivery.category.value})
        link = f"{public_url}{UNSUBSCRIBE_PATH}?{query}"
    return Email(
        delivery.id,
        delivery.address,
        str(delivery.data["name"]),
        delivery.language.value,
        words.title,
        text,
        html,
        link,
        _wording(delivery, words),
    )


def make_sms(claimed: Claimed) -> Sms:
    delivery = claimed.delivery
    words = _words(delivery, Channel.SMS.value)
    return Sms(delivery.id, delivery.address, words.body, _wording(delivery, words))


def make_push(claimed: Claimed) -> Push:
    """The in-app words, shortened to what push services take."""
    delivery, device = claimed.delivery, claimed.endpoint
    assert isinstance(device, Device)
    words = _words(delivery, rendering.IN_APP)
    body = words.body
    while len(payload := _push_payload(delivery, words.title, body)) > PAYLOAD_LIMIT:
        body = body[: math.floor(len(body) * 0.8)] + "…"
    return Push(delivery.id, device.endpoint, device.p256dh, device.auth, payload, _wording(delivery, words))


def _words(delivery: Delivery, channel: str) -> Words:
    return rendering.render(delivery.event_type, delivery.language, channel, delivery.data)


def _wording(delivery: Delivery, words: Words) -> Wording:
    return Wording(words.version, None if SECRETS & delivery.data.keys() else words.digest)


def _push_payload(delivery: Delivery, title: str, body: str) -> bytes:
    return orjson.dumps(
        {"title": title, "body": body, "event_type": delivery.event_type, "language": delivery.language}
    )


def make_webhook_call(claimed: Claimed) -> WebhookCall:
    """The same bytes at every attempt: the id and the time are the message's own."""
    delivery, webhook = claimed.delivery, claimed.endpoint
    assert isinstance(webhook, Webhook)
    words = _words(delivery, rendering.IN_APP) if delivery.event_type != TEST_EVENT else None
    document = {
        "type": delivery.event_type,
        "timestamp": clock.rfc3339(delivery.created_at),
        "data": _webhook_data(delivery, words) if words is not None else {},
    }
    wording = _wording(delivery, words) if words is not None else None
    return WebhookCall(delivery.id, webhook.url, webhook.secret, orjson.dumps(document), wording)


def _webhook_data(delivery: Delivery, words: Words) -> dict[str, object]:
    return {
        "event_id": delivery.event_id,
        "language": delivery.language,
        "title": words.title,
        "body": words.body,
        "data": shown(delivery.data),
    }
