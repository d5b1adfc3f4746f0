"""Builders for tests of messages to customers: a sample of every event that one is told of."""

from datetime import timedelta
from typing import Any

from common import clock, ids
from common.messaging import Event
from notification import rendering
from notification.handlers import HANDLERS
from tests.support.services import an_event, deliver

NAMES = {"en": "Nimali Perera", "si": "නිමාලි පෙරේරා", "ta": "நிமாலி பெரேரா"}


def lkr(minor: int) -> dict[str, Any]:
    return {"amount_minor": minor, "currency": "LKR"}


def user_data(user_id: str, **changes: Any) -> dict[str, Any]:
    language = changes.get("language", "en")
    return {
        "user_id": user_id,
        "phone": "+94771234567",
        "email": "nimali@example.lk",
        "name": NAMES[language],
        "language": "en",
        "roles": ["customer"],
        "created_at": "2026-11-21T04:00:00.000000Z",
    } | changes


def sample(event_type: str, user_id: str, **changes: Any) -> dict[str, Any]:
    """Data as the type's producer would send it."""
    return {"user_id": user_id} | _samples()[event_type] | changes


def _samples() -> dict[str, dict[str, Any]]:
    order = {
        "order_id": ids.new_id(),
        "number": "ORD-2026-000042",
        "offering_id": ids.new_id(),
        "offering_code": "data-10gb",
        "offering_name": "Data 10 GB",
        "total": lkr(120_000),
        "reason": "expired",
        "state": "pending_payment",
        "created_at": "2026-11-21T04:30:00.000000Z",
    }
    service = {
        "service_id": ids.new_id(),
        "order_id": ids.new_id(),
        "order_number": "ORD-2026-000042",
        "offering_id": ids.new_id(),
        "offering_code": "data-10gb",
        "offering_name": "Data 10 GB",
        "category": "data",
        "allowances": [{"kind": "data_mb", "granted": 10240, "used": 0}],
        "activated_at": "2026-11-21T04:30:00.000000Z",
        "expires_at": "2026-12-20T20:30:00.000000Z",
        "reason": "expired",
    }
    invoice = {
        "invoice_id": ids.new_id(),
        "number": "INV-2026-000042",
        "account_number": "STL-0000000042",
        "total": lkr(345_050),
        "amount_due": lkr(345_050),
        "due_on": "2026-12-05",
        "bar_from": "2026-12-20",
        "payment_id": ids.new_id(),
        "paid_at": "2026-11-21T04:30:00.000000Z",
        "reason": "payment_refunded",
        "credit_note_id": ids.new_id(),
        "credit_note_number": "CN-2026-000042",
        "amount": lkr(45_000),
    }
    usage = {
        "account_number": "STL-0000000042",
        "source": "plan",
        "offering_name": "Mobile 100",
        "kind": "data_mb",
        "percent": 80,
        "used": 8_192,
        "granted": 10_240,
        "currency": None,
        "service_id": None,
        "until": "2026-11-30T18:30:00.000000Z",
    }
    account = {
        "account_id": ids.new_id(),
        "account_number": "STL-0000000042",
        "level": "soft",
        "reason": "unpaid",
    }
    payment = {
        "payment_id": ids.new_id(),
        "refund_id": ids.new_id(),
        "reference": {"type": "invoice", "id": ids.new_id()},
        "amount": lkr(345_050),
        "method": {"type": "card", "brand": "visa", "last4": "4242"},
        "completed_at": "2026-11-21T04:30:00.000000Z",
        "reason": "insufficient_funds",
    }
    wallet = {
        "entry_id": ids.new_id(),
        "amount": lkr(50_000),
        "balance": lkr(75_000),
        "reason": "payment",
    }
    ticket = {
        "ticket_id": ids.new_id(),
        "number": "TCK-2026-000042",
        "subject": "No signal in Kandy",
        "category": "network",
        "priority": "normal",
        "state": "open",
    }
    chat = {
        "conversation_id": ids.new_id(),
        "message_id": ids.new_id(),
        "seq": 7,
        "sender_name": "Kasun",
        "subject": None,
        "opened_at": "2026-11-21T04:29:00.000000Z",
        "omitted": 0,
        "lines": [
            {
                "seq": 1,
                "sent_at": "2026-11-21T04:30:00.000000Z",
                "sender_role": "agent",
                "sender_name": "Kasun",
                "body": "Good day\n\n<b>Nimali</b>",
            }
        ],
    }
    user = {
        **{name: value for name, value in user_data("").items() if name != "user_id"},
        "code": "042042",
        "expires_at": "2026-12-20T20:30:00.000000Z",
        "channel": "sms",
        "reason": "changed",
        "changed_at": "2026-11-21T04:30:00.000000Z",
        "locked_until": "2026-11-21T04:45:00.000000Z",
        "old_phone": "+94770000099",
        "ip": "203.0.113.9",
    }
    kyc = {"kyc_id": ids.new_id(), "reason": "The picture is blurred"}
    families: dict[str, dict[str, Any]] = {
        "order": order,
        "service": service,
        "invoice": invoice,
        "usage": usage,
        "account": account,
        "payment": payment,
        "wallet": wallet,
        "ticket": ticket,
        "chat": chat,
        "user": user,
        "kyc": kyc,
    }
    samples = {event_type: families[event_type.split(".")[0]] for event_type in rendering.texts()}
    return samples | {"user.email.verification.requested": user | {"channel": "email"}}


def a_customer(**changes: Any) -> str:
    """A user whom notification knows, and has welcomed."""
    user_id = ids.new_id()
    deliver(HANDLERS, an_event("user.created", user_id, user_data(user_id, **changes)))
    return user_id


def tell(event_type: str, user_id: str, **changes: Any) -> Event:
    """Have an event happen to a user."""
    event = an_event(event_type, user_id, sample(event_type, user_id, **changes), time=clock.now())
    deliver(HANDLERS, event)
    return event


class FakeProvider:
    """Takes messages, or fails as it is told to."""

    lease = timedelta(seconds=60)

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.taken: list[Any] = []
        self.calls = 0
        self.fails: Exception | None = None

    def send(self, message: Any) -> str | None:
        self.calls += 1
        if self.fails is not None:
            raise self.fails
        self.taken.append(message)
        return f"fake-{len(self.taken)}"

    def close(self) -> None:
        pass
