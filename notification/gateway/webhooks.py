"""Calls to customers' own addresses, signed as Standard Webhooks have it."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta

from common import clock
from notification.gateway.base import PermanentFailure, TemporaryFailure, WebhookCall, one_line
from notification.gateway.outbound import AddressNotAllowed, Http, NoAnswer, NoConnection

PREFIX = "whsec_"
TOLERANCE = timedelta(minutes=5)


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header of a body. Raises ValueError for a secret that is not base64."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a signing secret is base64, perhaps after whsec_") from None
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a body that came to us is signed with a secret, within minutes of now."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    if abs(int(stamp) - clock.now().timestamp()) > TOLERANCE.total_seconds():
        return False
    expected = sign(secret, message_id, int(stamp), body).encode()
    given = headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    return any(hmac.compare_digest(expected, each) for each in given)


class WebhookSender:
    """One call, one attempt. A target that is away says nothing of the others."""

    name = "webhook"

    def __init__(self, http: Http, *, timeout_s: float) -> None:
        self.lease = timedelta(seconds=4 * timeout_s)
        self._http = http

    def send(self, message: WebhookCall) -> str | None:
        timestamp = int(clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Sri-Care-Webhooks/1",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(message.secret, message.id, timestamp, message.payload),
        }
        try:
            answer = self._http.post(message.url, headers, message.payload)
        except AddressNotAllowed:
            raise PermanentFailure("address_not_allowed") from None
        except (NoConnection, NoAnswer) as error:
            raise TemporaryFailure("no_answer", str(error)) from None
        if answer.status == 410:
            raise PermanentFailure("gone")
        if not 200 <= answer.status < 300:  # a redirect too: what it names was not checked
            words = one_line(answer.body[:150].decode("utf-8", "replace"))
            raise TemporaryFailure("refused", f"{answer.status} {words}")
        return None

    def close(self) -> None:
        pass
