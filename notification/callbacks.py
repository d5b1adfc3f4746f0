"""What SMS providers send to us: receipts, and customers' own messages. Each request proves whose it is."""

import hmac
from typing import NamedTuple

from flask import current_app, request

from common.errors import NotFound, Unauthorized, ValidationFailed
from common.web.body import read_body, refuse_nul
from notification.config import Settings
from notification.gateway.sms import twilio_signature
from notification.gateway.webhooks import is_signed
from notification.schemas.providers import InboundSmsIn, ReceiptIn

_TWILIO_ENDINGS = {"delivered": True, "read": True, "undelivered": False, "failed": False}


class Receipt(NamedTuple):
    """`delivered` is None while the message is still on its way."""

    reference: str
    delivered: bool | None
    reason: str


class InboundSms(NamedTuple):
    phone: str
    text: str


def read_receipt(provider: str) -> Receipt:
    """Raises NotFound, Unauthorized, and what a bad body is refused with."""
    if provider == "twilio":
        form = _twilio_form()
        status, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
        return Receipt(_needed(form, "MessageSid"), _TWILIO_ENDINGS.get(status), f"{status} {code}".strip())
    _check_signed(provider)
    body = read_body(ReceiptIn)
    return Receipt(body.reference, body.status == "delivered", body.reason)


def read_inbound(provider: str) -> InboundSms:
    """Raises NotFound, Unauthorized, and what a bad body is refused with."""
    if provider == "twilio":
        form = _twilio_form()
        return InboundSms(_needed(form, "From"), form.get("Body", ""))
    _check_signed(provider)
    body = read_body(InboundSmsIn)
    return InboundSms(body.sender, body.text)


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _check_signed(provider: str) -> None:
    """Standard Webhooks, with the secret shared with the gateway."""
    secret = _settings().sms_http_secret
    if provider != "http" or secret is None:
        raise NotFound()
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not is_signed(secret, headers, request.get_data(cache=True)):
        raise Unauthorized("The signature is not valid")


def _twilio_form() -> dict[str, str]:
    settings = _settings()
    if settings.twilio_token is None:
        raise NotFound()
    form = request.form.to_dict()
    refuse_nul(form, "form")
    expected = twilio_signature(settings.twilio_token, settings.public_url + request.path, form)
    given = request.headers.get("X-Twilio-Signature", "")
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise Unauthorized("The signature is not valid")
    return form


def _needed(form: dict[str, str], field: str) -> str:
    value = form.get(field, "")
    if not 1 <= len(value) <= 200:
        raise ValidationFailed(errors=[{"field": field, "message": "is missing or too long"}])
    return value
