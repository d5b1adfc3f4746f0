"""Stripe's API on loopback in the shapes that it has been recorded with: PaymentIntents, customers, refunds.

What matters is kept as Stripe has it: idempotency keys give the first answer again, a confirmed PaymentIntent moves
money once, refunds never exceed it, and errors are Stripe's error documents.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

WEBHOOK_SECRET = "whsec_of_the_tests"
DECLINES = {"4000000000000002": "generic_decline", "4000000000009995": "insufficient_funds"}
ASKS = "4000002500003155"
LOSES_ANSWER = "4000000000000119"


class StripeError(Exception):
    def __init__(self, status: int, error: dict[str, Any]) -> None:
        self.status, self.document = status, {"error": error}


class FakeStripe:
    """State and rules; the handler below is only HTTP."""

    def __init__(self) -> None:
        self.url = ""
        self.outage = False
        self.empty = False
        self.intents: dict[str, dict[str, Any]] = {}
        self.methods: dict[str, dict[str, Any]] = {}
        self.customers: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self._answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()

    def answer(
        self, method: str, path: str, form: dict[str, str], key: str | None
    ) -> tuple[int, dict[str, Any]]:
        if self.outage:
            return 503, {"error": {"type": "api_error", "message": "overloaded"}}
        with self._lock:
            if key is not None and key in self._answers:
                return self._answers[key]
            try:
                given = 200, json.loads(json.dumps(self._route(method, path.removeprefix("/v1/"), form)))
            except StripeError as error:
                given = error.status, error.document
            if key is not None:
                self._answers[key] = given
            return given

    def _route(self, method: str, path: str, form: dict[str, str]) -> dict[str, Any]:
        match method, path.split("/"):
            case "POST", ["payment_intents"]:
                return self._make_intent(form)
            case "GET", ["payment_intents", "search"]:
                wanted = form["query"].split("'")[3]
                found = [i for i in self.intents.values() if i["metadata"].get("payment_id") == wanted]
                return {"object": "search_result", "data": found, "has_more": False, "url": "/v1/x"}
            case "GET", ["payment_intents", intent_id]:
                return self.intents[intent_id]
            case "POST", ["payment_intents", intent_id]:
                self.intents[intent_id]["customer"] = form["customer"]
                return self.intents[intent_id]
            case "POST", ["payment_intents", intent_id, "confirm"]:
                return self._confirm(self.intents[intent_id], form)
            case "POST", ["payment_intents", intent_id, "cancel"]:
                return self._cancel(self.intents[intent_id])
            case "POST", ["payment_methods"]:
                return self._make_method(form["card[number]"])
            case "POST", ["payment_methods", method_id, "attach"]:
                return self.methods[method_id] | {"customer": form["customer"]}
            case "POST", ["customers"]:
                made = f"cus_{next(self._numbers)}"
                self.customers[made] = {"id": made, "object": "customer", "metadata": _metadata(form)}
                return self.customers[made]
            case "GET", ["customers", "search"]:
                wanted = form["query"].split("'")[3]
                found = [c for c in self.customers.values() if c["metadata"].get("card_key") == wanted]
                return {"object": "search_result", "data": found, "has_more": False, "url": "/v1/x"}
            case "DELETE", ["customers", customer]:
                if self.customers.pop(customer, None) is None:
                    raise StripeError(
                        404, {"type": "invalid_request_error", "code": "resource_missing", "message": "no"}
                    )
                return {"id": customer, "object": "customer", "deleted": True}
            case "POST", ["refunds"]:
                return self._refund(form)
            case "GET", ["refunds"]:
                mine = [r for r in self.refunds if r["payment_intent"] == form["payment_intent"]]
                return {"object": "list", "data": mine, "has_more": False, "url": "/v1/refunds"}
        raise StripeError(404, {"type": "invalid_request_error", "message": f"no such route {path}"})

    def _make_intent(self, form: dict[str, str]) -> dict[str, Any]:
        intent: dict[str, Any] = {
            "id": f"pi_{next(self._numbers)}",
            "object": "payment_intent",
            "amount": int(form["amount"]),
            "amount_received": 0,
            "currency": form["currency"],
            "status": "requires_payment_method",
            "metadata": _metadata(form),
            "customer": None,
            "last_payment_error": None,
            "next_action": None,
        }
        self.intents[intent["id"]] = intent
        return intent

    def _make_method(self, number: str) -> dict[str, Any]:
        method: dict[str, Any] = {
            "id": f"pm_{next(self._numbers)}",
            "object": "payment_method",
            "card": {"last4": number[-4:]},
            "number": number,
        }
        self.methods[method["id"]] = method
        return method

    def _confirm(self, intent: dict[str, Any], form: dict[str, str]) -> dict[str, Any]:
        if intent["status"] != "requires_payment_method":
            raise StripeError(
                400,
                {"type": "invalid_request_error", "code": "payment_intent_unexpected_state", "message": "no"},
            )
        number = (
            form.get("payment_method_data[card][number]") or self.methods[form["payment_method"]]["number"]
        )
        if number in DECLINES:
            error = {
                "type": "card_error",
                "code": "card_declined",
                "decline_code": DECLINES[number],
                "message": "Your card was declined.",
            }
            intent["last_payment_error"] = error
            raise StripeError(402, error)
        if number == ASKS:
            intent["status"] = "requires_action"
            intent["next_action"] = {
                "type": "redirect_to_url",
                "redirect_to_url": {"url": "https://hooks.example/3ds", "return_url": form["return_url"]},
            }
            return intent
        self.authenticate(intent["id"])
        if number == LOSES_ANSWER:
            raise StripeError(500, {"type": "api_error", "message": "lost"})
        return intent

    def authenticate(self, intent_id: str) -> None:
        """The customer passes the bank's challenge."""
        intent = self.intents[intent_id]
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "next_action": None}

    def _cancel(self, intent: dict[str, Any]) -> dict[str, Any]:
        if intent["status"] == "succeeded":
            raise StripeError(
                400,
                {"type": "invalid_request_error", "code": "payment_intent_unexpected_state", "message": "no"},
            )
        intent["status"] = "canceled"
        return intent

    def _refund(self, form: dict[str, str]) -> dict[str, Any]:
        intent, amount = self.intents[form["payment_intent"]], int(form["amount"])
        if self.empty:
            raise StripeError(
                400, {"type": "invalid_request_error", "code": "balance_insufficient", "message": "no"}
            )
        given = [r for r in self.refunds if r["payment_intent"] == intent["id"] and r["status"] != "failed"]
        before = sum(r["amount"] for r in given)
        if before + amount > intent["amount_received"]:
            raise StripeError(
                400, {"type": "invalid_request_error", "code": "charge_already_refunded", "message": "no"}
            )
        refund = {
            "id": f"re_{next(self._numbers)}",
            "object": "refund",
            "amount": amount,
            "payment_intent": intent["id"],
            "status": "succeeded",
            "metadata": _metadata(form),
        }
        self.refunds.append(refund)
        return refund

    def captured(self) -> int:
        return sum(intent["amount_received"] for intent in self.intents.values())


def _metadata(form: dict[str, str]) -> dict[str, str]:
    return {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}


def signed(event_type: str, thing: dict[str, Any], *, age_s: int = 0) -> tuple[bytes, dict[str, str]]:
    """A webhook as Stripe sends it."""
    body = json.dumps(
        {"id": "evt_1", "object": "event", "type": event_type, "data": {"object": thing}}
    ).encode()
    at = int(time.time()) - age_s
    mac = hmac.new(WEBHOOK_SECRET.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return body, {"Stripe-Signature": f"t={at},v1={mac}"}


@contextmanager
def stripe_server() -> Iterator[FakeStripe]:
    fake = FakeStripe()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {name: values[0] for name, values in parse_qs(body or parts.query).items()}
            status, document = fake.answer(
                self.command, parts.path, form, self.headers.get("Idempotency-Key")
            )
            payload = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
