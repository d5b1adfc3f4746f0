"""What SMS providers say."""

from flask import Response

from common.db import transaction
from common.errors import NotFound, Unauthorized
from common.web import operation, reply
from notification import callbacks
from notification.routes.base import routes
from notification.use_cases import preferences, receipts


@routes.post("/sms/<provider>/receipts")
@operation(
    "Take a receipt of an SMS provider", returns={204: None}, roles=None, raises=(NotFound, Unauthorized)
)
def post_sms_receipt(provider: str) -> Response:
    """`http`: JSON `{reference, status: delivered|failed, reason?}`, signed as Standard Webhooks have it. `twilio`: its
    status callback. Repeats change nothing, nor does one of a message that is not ours."""
    said = callbacks.read_receipt(provider)
    if said.delivered is not None:
        with transaction() as session:
            receipts.note_receipt(
                session,
                provider=provider,
                reference=said.reference,
                delivered=said.delivered,
                reason=said.reason,
            )
            return reply(None, 204)
    return reply(None, 204)


@routes.post("/sms/<provider>/inbound")
@operation("Take a customer's SMS", returns={204: None}, roles=None, raises=(NotFound, Unauthorized))
def post_sms_inbound(provider: str) -> Response:
    """STOP ends all SMS that can be switched off, START resumes them; other words change nothing."""
    message = callbacks.read_inbound(provider)
    with transaction() as session:
        preferences.hear_keyword(session, phone=message.phone, text=message.text)
        return reply(None, 204)
