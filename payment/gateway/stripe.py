"""Stripe through its official SDK: PaymentIntents with 3-D Secure, refunds, signed callbacks.

A saved card hangs on a customer of its own, made under our key: deleting that customer drops the card.

A PaymentIntent is made under our key before it is confirmed: making it moves no money, and making it again under the
same key gives the same one, so that a charge whose answer was lost is found again. Stripe keeps idempotency keys for a
day (refusals too, so that a refund that a person has tried again needs a further one); what is older is searched by its
metadata, which Stripe brings up to date within a minute or so.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import stripe

from common import clock, ids
from common.money import Money
from payment.cards import Card
from payment.gateway import (
    CardRefused,
    CardToken,
    GatewayDown,
    GatewayTrouble,
    Notice,
    NoticeKind,
    NoticeRefused,
    Outcome,
    RefundRefused,
    Verdict,
)

KEYS_KEPT = timedelta(hours=20)
TIMEOUT_S = 10.0
DEAD = ("failed", "canceled")
"""States of a refund that gave nothing back."""
DECLINES = {
    "insufficient_funds": "insufficient_funds",
    "expired_card": "card_expired",
    "incorrect_cvc": "incorrect_cvc",
    "authentication_required": "authentication_required",
}
"""Stripe's decline codes that customers can act on; every other one is a declined card."""


class StripeGateway:
    """Thread-safe."""

    name = "stripe"

    def __init__(self, api_key: str, webhook_secret: str, return_url: str, api_base: str = "") -> None:
        logging.getLogger("stripe").setLevel(logging.WARNING)  # at DEBUG it logs what it posts: the card
        self._secret = webhook_secret
        self._return_url = return_url
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else None,
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
        )
        self._api = self._client.v1

    def tokenise(self, card: Card, *, key: str) -> CardToken:
        try:
            customer = self._customer(key)
            method = _call(self._api.payment_methods.create, _card(card))["id"]
            _call(self._api.payment_methods.attach, method, {"customer": customer})
        except stripe.CardError as error:
            raise CardRefused(_reason(_decline_code(error))) from None
        return CardToken(f"{customer}/{method}", card.brand, card.last4)

    def forget(self, token: str) -> None:
        customer, _, _ = token.rpartition("/")
        if not customer:
            return
        try:
            _call(self._api.customers.delete, customer)
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise GatewayTrouble(str(error.code)) from None

    def forget_left(self, key: str) -> None:
        if _young(key):
            found = [self._customer(key)]
        else:
            query = {"query": f"metadata['card_key']:'{key}'", "limit": 10}
            found = [one["id"] for one in _call(self._api.customers.search, query)["data"]]
        for customer in found:
            self.forget(f"{customer}/")

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        try:
            intent = self._open(key, amount)
        except GatewayTrouble as trouble:  # nothing was confirmed: no money can have moved
            raise GatewayDown(str(trouble)) from None
        if not _untried(intent):
            return _outcome(intent)
        how: dict[str, Any] = {"return_url": self._return_url}
        if isinstance(source, Card):
            how["payment_method_data"] = _card(source)
        else:
            customer, _, how["payment_method"] = source.rpartition("/")
            if customer:
                _call(self._api.payment_intents.update, intent["id"], {"customer": customer})
        try:
            confirmed = _call(
                self._api.payment_intents.confirm, intent["id"], how, {"idempotency_key": f"confirm-{key}"}
            )
        except stripe.CardError as error:
            return Outcome(Verdict.DECLINED, _reason(_decline_code(error)))
        except stripe.InvalidRequestError as error:
            raise GatewayTrouble(f"confirm: {error.code}") from None
        return _outcome(confirmed)

    def confirm(self, *, key: str, amount: Money, otp: str) -> Outcome:
        """The password is given on the bank's own page (the action's url): this looks whether it was."""
        found = self._find(key, amount)
        return Outcome(Verdict.PENDING) if found is None else _outcome(found)

    def look_up(self, *, key: str, amount: Money) -> Outcome | None:
        found = self._find(key, amount)
        return None if found is None or _untried(found) else _outcome(found)

    def cancel(self, *, key: str, amount: Money) -> Outcome:
        found = self._find(key, amount)
        if found is None:
            return Outcome(Verdict.CANCELLED, "cancelled")
        if found["status"] not in ("succeeded", "canceled"):
            try:
                found = _call(self._api.payment_intents.cancel, found["id"])
            except stripe.InvalidRequestError:  # it went on meanwhile
                found = _call(self._api.payment_intents.retrieve, found["id"])
        return _outcome(found)

    def refund(self, *, key: str, charge_key: str, amount: Money, retries: int = 0) -> None:
        intent = self._find(charge_key, amount, must_exist=True)
        if intent is None:
            raise RefundRefused("not_captured")
        if retries or not _young(key):
            made = self._refunds_made(intent["id"], key)
            going = [refund for refund in made if refund["status"] not in DEAD]
            if going or (made and not retries):
                return _check((going or made)[0])
        try:
            refund = _call(
                self._api.refunds.create,
                {
                    "payment_intent": intent["id"],
                    "amount": amount.amount_minor,
                    "metadata": {"refund_id": key, "payment_id": charge_key},
                },
                {"idempotency_key": f"refund-{key}-{retries}" if retries else f"refund-{key}"},
            )
        except stripe.InvalidRequestError as error:
            raise RefundRefused(error.code or "invalid_request") from None
        return _check(refund)

    def _refunds_made(self, intent_id: str, key: str) -> list[dict[str, Any]]:
        made = _call(self._api.refunds.list, {"payment_intent": intent_id, "limit": 100})["data"]
        return [refund for refund in made if (refund.get("metadata") or {}).get("refund_id") == key]

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        try:
            event = self._client.construct_event(body, headers.get("Stripe-Signature", ""), self._secret)
        except (ValueError, stripe.SignatureVerificationError):
            raise NoticeRefused("wrong signature or too old") from None
        thing = event.data.object.to_dict()
        metadata = thing.get("metadata") or {}
        if event.type.startswith("payment_intent.") and "payment_id" in metadata:
            return Notice(NoticeKind.CHARGE, metadata["payment_id"])
        if event.type.startswith("refund.") and "refund_id" in metadata:
            failed = thing.get("status") in DEAD
            kind = NoticeKind.REFUND_FAILED if failed else NoticeKind.REFUND
            return Notice(kind, metadata["refund_id"], str(thing.get("failure_reason") or ""))
        if event.type == "charge.dispute.created" and thing.get("payment_intent"):
            return Notice(
                NoticeKind.CHARGEBACK, self._key_of(thing["payment_intent"]), str(thing.get("reason"))
            )
        return None

    def _customer(self, key: str) -> str:
        """The customer who stands for a card left under a key of ours, made where there is none."""
        wanted = {"metadata": {"purpose": "saved card", "card_key": key}}
        made = _call(self._api.customers.create, wanted, {"idempotency_key": f"card-{key}"})
        return str(made["id"])

    def _key_of(self, intent_id: str) -> str:
        intent = _call(self._api.payment_intents.retrieve, intent_id)
        return str((intent.get("metadata") or {}).get("payment_id", ""))

    def _open(self, key: str, amount: Money) -> dict[str, Any]:
        """The PaymentIntent of our key as it now is, made unconfirmed where there is none."""
        made = _call(
            self._api.payment_intents.create,
            {
                "amount": amount.amount_minor,
                "currency": amount.currency.lower(),
                "allowed_payment_method_types": ["card"],
                "metadata": {"payment_id": key},
            },
            {"idempotency_key": f"intent-{key}"},
        )
        return _call(self._api.payment_intents.retrieve, made["id"])

    def _find(self, key: str, amount: Money, *, must_exist: bool = False) -> dict[str, Any] | None:
        if _young(key) and not must_exist:
            return self._open(key, amount)
        return self._search(key)

    def _search(self, key: str) -> dict[str, Any] | None:
        query = {"query": f"metadata['payment_id']:'{key}'", "limit": 10}
        found = _call(self._api.payment_intents.search, query)["data"]
        return next(
            (intent for intent in found if intent["status"] == "succeeded"), found[0] if found else None
        )


def _young(key: str) -> bool:
    """Whether Stripe still knows the idempotency keys that were made from it."""
    made_at = ids.made_at(key)
    return made_at is not None and clock.now() - made_at < KEYS_KEPT


def _call(method: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """Raises GatewayTrouble for what says nothing about the money, CardError and InvalidRequestError as they are."""
    try:
        answer: dict[str, Any] = method(*given).to_dict()
    except (stripe.CardError, stripe.InvalidRequestError):
        raise
    except stripe.StripeError as error:
        raise GatewayTrouble(f"{type(error).__name__} {error.http_status or ''}".strip()) from None
    return answer


def _card(card: Card) -> dict[str, Any]:
    return {
        "type": "card",
        "card": {
            "number": card.number.get_secret_value(),
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "cvc": card.cvc.get_secret_value(),
        },
        "billing_details": {"name": card.name},
    }


def _outcome(intent: dict[str, Any]) -> Outcome:
    match intent["status"]:
        case "succeeded":
            return Outcome(Verdict.CAPTURED)
        case "requires_action":
            redirect = (intent.get("next_action") or {}).get("redirect_to_url") or {}
            return Outcome(Verdict.ACTION_REQUIRED, url=redirect.get("url"))
        case "canceled":
            return Outcome(Verdict.CANCELLED, "cancelled")
        case "requires_payment_method":
            error = intent.get("last_payment_error") or {}
            return Outcome(Verdict.DECLINED, _reason(error.get("decline_code") or error.get("code")))
        case _:
            return Outcome(Verdict.PENDING)


def _decline_code(error: stripe.CardError) -> str | None:
    details = error.json_body.get("error", {}) if isinstance(error.json_body, dict) else {}
    return details.get("decline_code") or error.code


def _reason(code: str | None) -> str:
    return DECLINES.get(code or "", "card_declined")


def _check(refund: dict[str, Any]) -> None:
    if refund["status"] in DEAD:
        raise RefundRefused(refund.get("failure_reason") or refund["status"])


def _untried(intent: dict[str, Any]) -> bool:
    """Made, and no card was ever charged under it."""
    return intent["status"] == "requires_payment_method" and not intent.get("last_payment_error")
