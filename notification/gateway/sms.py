"""SMS: how many parts a text takes, a generic HTTP gateway, Twilio, and the sink of development."""

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import orjson

from common import clock
from notification.gateway.base import (
    SINK_LEASE,
    DeliveryFailed,
    OutcomeUnknown,
    PermanentFailure,
    ProviderAway,
    Sms,
    masked,
    one_line,
    write_whole,
)
from notification.gateway.outbound import Answer, Http, NoAnswer, NoConnection

log = logging.getLogger(__name__)

_GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENDED = frozenset("^{}\\[~]|€\f")
"""Two septets each."""


class SmsSize(NamedTuple):
    """`encoding` is `gsm7` or `ucs2`; `length` in its units; `parts` is what the operator is charged for."""

    encoding: str
    length: int
    parts: int


def sms_size(text: str) -> SmsSize:
    """How a text travels: 160 septets in one part or 153 in each of several; in UCS-2 70 and 67."""
    if set(text) <= _GSM7 | _GSM7_EXTENDED:
        units = [2 if char in _GSM7_EXTENDED else 1 for char in text]
        return SmsSize("gsm7", sum(units), _parts(units, 160, 153))
    units = [2 if ord(char) > 0xFFFF else 1 for char in text]
    return SmsSize("ucs2", sum(units), _parts(units, 70, 67))


def _parts(units: list[int], alone: int, each: int) -> int:
    """A character of two units is never cut in two."""
    if sum(units) <= alone:
        return 1
    parts, used = 1, 0
    for unit in units:
        if used + unit > each:
            parts, used = parts + 1, 0
        used += unit
    return parts


class SmsSink:
    """Instead of an SMS gateway: one .json per message in a folder, or only a log line when there is no folder."""

    name = "sink"
    lease = SINK_LEASE

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def send(self, message: Sms) -> str | None:
        if self._folder is not None:
            document = {
                "id": message.id,
                "to": message.to,
                "body": message.body,
                "parts": sms_size(message.body).parts,
                "sent_at": clock.rfc3339(clock.now()),
            }
            write_whole(self._folder / f"{message.id}.json", orjson.dumps(document))
        log.info("sms", extra={"delivery_id": message.id, "to": masked(message.to)})
        return None

    def close(self) -> None:
        pass


class HttpSms:
    """A gateway that takes JSON: `{"id", "from", "to", "text"}` with a bearer token, and the message's id as its
    Idempotency-Key. Its answer may name a reference (`id` or `message_id`), under which receipts come."""

    name = "http"

    def __init__(self, http: Http, *, url: str, token: str | None, sender: str, timeout_s: float) -> None:
        self.lease = timedelta(seconds=4 * timeout_s)
        self._http, self._url, self._token, self._sender = http, url, token, sender

    def send(self, message: Sms) -> str | None:
        body = {"id": message.id, "from": self._sender, "to": message.to, "text": message.body}
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        answer = call(self._http, self._url, headers, orjson.dumps(body))
        found = _document(answer.body)
        reference = found.get("id") or found.get("message_id")
        return str(reference)[:200] if isinstance(reference, str | int) else message.id

    def close(self) -> None:
        pass


class TwilioSms:
    """Twilio's Messages resource. Receipts come to `status_url`."""

    name = "twilio"

    def __init__(
        self,
        http: Http,
        *,
        url: str,
        account: str,
        token: str,
        sender: str,
        status_url: str,
        timeout_s: float,
    ) -> None:
        self.lease = timedelta(seconds=4 * timeout_s)
        self._http = http
        self._url = f"{url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages.json"
        self._authorization = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()
        self._sender, self._status_url = sender, status_url

    def send(self, message: Sms) -> str | None:
        form = {
            "To": message.to,
            "From": self._sender,
            "Body": message.body,
            "StatusCallback": self._status_url,
        }
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": self._authorization,
            "I-Twilio-Idempotency-Token": message.id,
        }
        answer = call(self._http, self._url, headers, urlencode(form).encode())
        sid = _document(answer.body).get("sid")
        return str(sid)[:200] if isinstance(sid, str) else None

    def close(self) -> None:
        pass


def twilio_signature(token: str, url: str, form: Mapping[str, str]) -> str:
    """What Twilio puts into `X-Twilio-Signature` of its callbacks."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


def call(http: Http, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """A provider's answer of success. Raises DeliveryFailed: what concerns the provider itself (no connection, too
    much, our account, its own trouble) as away, the rest as this message's own."""
    try:
        answer = http.post(url, headers, body)
    except NoConnection as error:
        raise ProviderAway("no_connection", str(error)) from None
    except NoAnswer as error:
        raise OutcomeUnknown("no_answer", str(error)) from None
    if 200 <= answer.status < 300:
        return answer
    raise _refusal(answer)


def _refusal(answer: Answer) -> DeliveryFailed:
    words = one_line(f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}")
    if answer.status in (400, 404, 410, 413, 422):
        return PermanentFailure("recipient_refused", words)
    return ProviderAway("provider_refused", words)


def _document(body: bytes) -> dict[str, object]:
    """The JSON object in an answer; whatever else it is says nothing."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
