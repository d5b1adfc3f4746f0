"""What customers are deliberately not told, and why: some events, and some events by some channels.

Every published event is either told of or named here, and every event that is told of has its texts in all languages
on all channels that are not named here. Web push and webhooks carry the in-app words, so they follow `in_app`.
"""

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "allowance.used": "drawn down with every use; what matters of it is usage.threshold_reached",
    "audit.compliance.alert": "for the operator's own staff",
    "notification.failed": "what became of a message is no news to its reader",
    "notification.sent": "what became of a message is no news to its reader",
    "session.revoked": "the customer's own act, or the consequence of one that is told",
    "user.deactivated": "the account and its addresses are gone",
    "user.updated": "the customer's own act, answered at once",
    "user.verified": "the customer's own act, answered at once",
}
"""Event type → why no customer is told of it."""

_ONLY_ITS_READER = (
    "a code proves who reads this number or mailbox; anywhere else it proves nothing or opens the account"
)
_RECEIPT = "the receipt of the payment goes by this channel in the same moment"
_PAYING_NOW = (
    "asks who is paying now for a step of minutes; by mail or SMS it would train readers to trust phishing"
)

CHANNELS: Mapping[str, Mapping[str, str]] = {
    "chat.transcript.requested": {
        "in_app": "was asked for by e-mail; in the app the conversation itself can be read",
        "sms": "a conversation is no SMS",
    },
    "invoice.paid": {"email": _RECEIPT, "sms": _RECEIPT},
    "order.created": {"sms": "one purchase sends one SMS, that of its activation"},
    "payment.action_required": {"email": _PAYING_NOW, "sms": _PAYING_NOW},
    "ticket.updated": {"sms": "says only that there is news, perhaps many times a day"},
    "user.created": {"sms": "the code that confirms the number comes by SMS in the same moment"},
    "user.email.verification.requested": {"in_app": _ONLY_ITS_READER, "sms": _ONLY_ITS_READER},
    "user.password.reset.requested": {"in_app": _ONLY_ITS_READER},
    "user.phone.verification.requested": {"in_app": _ONLY_ITS_READER, "email": _ONLY_ITS_READER},
}
"""Event type → channel → why it has no text there."""
