"""A customer of a running platform, as the end-to-end tests play one: through the gateway, by the contract."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

import httpx

from common import clock, ids
from tests.support.cards import card_fields
from tests.support.eventually import eventually

CARD = card_fields()
PASSWORD = "correct horse battery"
_numbers = iter(random.sample(range(2_000_000, 10_000_000), 10_000))
"""Of telephones: none twice, and on a platform that has been tested before hardly one that is taken."""


class Caller:
    """Someone signed in. Answers are given as they are: tests look at the status themselves."""

    def __init__(self, url: str, token: str = "") -> None:
        self.http = httpx.Client(
            base_url=url, timeout=15, headers={"Authorization": f"Bearer {token}"} if token else {}
        )

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(path, params=query)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        return self.http.post(path, json=body or {}, headers={"Idempotency-Key": key or ids.new_id()})

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Customer(Caller):
    """A new customer with an account of their own."""

    def __init__(self, url: str, **profile: Any) -> None:
        phone = f"+9477{next(_numbers)}"
        body = {"phone": phone, "password": PASSWORD, "name": "Test Customer"} | profile
        answer = _persist(lambda: httpx.post(f"{url}/api/auth/register", json=body, timeout=15))
        assert answer.status_code == 201, answer.text
        self.tokens = answer.json()
        self.id = self.tokens["user"]["id"]
        self.phone = phone
        super().__init__(url, self.tokens["access_token"])

    def offering(self, category: str, *, free: bool = False) -> dict[str, Any]:
        """An offering of a category that needs nothing chosen and no KYC."""
        items = self.get("/api/provisioning/offerings", category=category, limit=100).json()["items"]
        return next(
            item
            for item in items
            if (item["price"]["amount_minor"] == 0) == free
            and not item["requires_kyc"]
            and not any(characteristic.get("required") for characteristic in item["characteristics"])
        )

    def order(self, category: str = "data", **body: Any) -> dict[str, Any]:
        answer = self.post("/api/provisioning/orders", {"offering_id": self.offering(category)["id"], **body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def pay(
        self, kind: str, thing: dict[str, Any], amount: dict[str, Any], *, key: str | None = None, **card: Any
    ) -> httpx.Response:
        body = {
            "reference": {"type": kind, "id": thing["id"]},
            "amount": amount,
            "method": {"type": "card", "card": CARD | card},
        }
        return self.post("/api/payment/process", body, key=key)

    def state_of(self, path: str) -> str:
        return str(self.get(path).json().get("state"))

    def notifications(self, event_type: str) -> list[dict[str, Any]]:
        items = self.get("/api/notifications", limit=100).json()["items"]
        return [item for item in items if item["event_type"] == event_type]

    def await_state(self, path: str, state: str, within: float = 15) -> None:
        eventually(lambda: self.state_of(path) == state, within=within)

    def await_notification(self, event_type: str, within: float = 15) -> dict[str, Any]:
        eventually(lambda: self.notifications(event_type), within=within)
        (found,) = self.notifications(event_type)
        return found


class Admin(Caller):
    """The operator's administrator of the demo data."""

    def __init__(self, url: str, phone: str, password: str) -> None:
        body = {"phone": phone, "password": password}
        answer = _persist(lambda: httpx.post(f"{url}/api/auth/login", json=body, timeout=15))
        assert answer.status_code == 200, answer.text
        super().__init__(url, answer.json()["access_token"])

    def issue_invoice(self, user_id: str, amount_minor: int) -> dict[str, Any]:
        """To be paid within three weeks."""
        line = {
            "description": "Monthly rental",
            "quantity": 1,
            "unit_price": {"amount_minor": amount_minor, "currency": "LKR"},
        }
        body = {"user_id": user_id, "lines": [line], "due_on": str(clock.today() + timedelta(days=21))}
        answers: list[httpx.Response] = []

        def issued() -> bool:
            answers.append(self.post("/api/billing/admin/invoices", body))
            return answers[-1].status_code == 201

        eventually(issued, within=15)
        return dict(answers[-1].json())


def _persist(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, asking again while a busy machine has no time for the password's hash (503, Retry-After)."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(ask())
        return answers[-1].status_code != 503

    eventually(answered, within=30, every=0.5)
    return answers[-1]
