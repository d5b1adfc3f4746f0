"""The simulated gateway: the contract's test cards, records of its own, transactions of its own.

It stands for the outside world: payment's code never reads its tables, and it never reads payment's.
"""

import hashlib
import hmac
import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import clock
from common.db import reading
from common.money import Money
from payment.cards import Card
from payment.gateway import (
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
from payment.gateway.simulated.callbacks import Callbacks
from payment.gateway.simulated.tables import Behaviour, SimulatedCharge, SimulatedRefund, SimulatedToken
from payment.models import insert_rows
from payment.transactions import own_transaction

OTP = "123456"
NOTICE_TOLERANCE_S = 300

TEST_CARDS = {
    "4000000000000002": Behaviour.DECLINE,
    "4000000000009995": Behaviour.NO_FUNDS,
    "4000002500003155": Behaviour.ASK_OTP,
    "4000000000000119": Behaviour.LOSE_ANSWER,
}
"""Every other valid number is approved, as `4242424242424242` is."""

_ANSWERS = {
    Behaviour.APPROVE: Outcome(Verdict.CAPTURED),
    Behaviour.DECLINE: Outcome(Verdict.DECLINED, "card_declined"),
    Behaviour.NO_FUNDS: Outcome(Verdict.DECLINED, "insufficient_funds"),
    Behaviour.ASK_OTP: Outcome(Verdict.ACTION_REQUIRED),
    Behaviour.LOSE_ANSWER: Outcome(Verdict.CAPTURED),
}


class SimulatedGateway:
    """In-process; `latency_s` is spent in each call, before anything is recorded. While `down` it is not reached, nor
    by `failure_rate` of all calls. Without `callbacks` it never calls back."""

    def __init__(
        self,
        latency_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        *,
        name: str = "simulated",
        webhook_secret: str = "",
        failure_rate: float = 0.0,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.name = name
        self.down = False
        self._failure_rate = failure_rate
        self._callbacks = callbacks
        self._latency_s = latency_s
        self._sleep = sleep
        self._secret = webhook_secret.encode()

    def tokenise(self, card: Card, *, key: str) -> CardToken:
        self._travel()
        token = _token(key)
        with own_transaction() as session:
            session.merge(SimulatedToken(token=token, behaviour=_behaviour(card)))
        return CardToken(token, card.brand, card.last4)

    def forget(self, token: str) -> None:
        self._travel()
        with own_transaction() as session:
            session.execute(delete(SimulatedToken).where(SimulatedToken.token == token))

    def forget_left(self, key: str) -> None:
        self.forget(_token(key))

    def charge(self, *, key: str, amount: Money, source: Card | str) -> Outcome:
        self._travel()
        behaviour = _behaviour(source) if isinstance(source, Card) else _behaviour_of_token(source)
        outcome = _ANSWERS[behaviour]
        try:
            with own_transaction() as session:
                _record(session, key, amount, outcome)
                self._announce(session, NoticeKind.CHARGE, key)
        except IntegrityError:
            known = self._find(key)
            assert known is not None
            return known
        if behaviour is Behaviour.LOSE_ANSWER:
            raise GatewayTrouble("the connection was lost before the answer")
        return outcome

    def confirm(self, *, key: str, amount: Money, otp: str) -> Outcome:
        self._travel()
        with own_transaction() as session:
            charge = session.get(SimulatedCharge, key, with_for_update=True)
            if charge is None:
                return Outcome(Verdict.DECLINED, "unknown_charge")
            if charge.verdict is Verdict.ACTION_REQUIRED and secrets.compare_digest(
                otp.encode(), OTP.encode()
            ):
                charge.verdict = Verdict.CAPTURED
                self._announce(session, NoticeKind.CHARGE, key)
            return _outcome(charge)

    def look_up(self, *, key: str, amount: Money) -> Outcome | None:
        self._travel()
        return self._find(key)

    def cancel(self, *, key: str, amount: Money) -> Outcome:
        self._travel()
        gone = Outcome(Verdict.CANCELLED, "cancelled")
        try:
            with own_transaction() as session:
                charge = session.get(SimulatedCharge, key, with_for_update=True)
                if charge is None:
                    _record(session, key, Money(amount_minor=0, currency="XXX"), gone)
                    return gone
                if charge.verdict is Verdict.ACTION_REQUIRED:
                    charge.verdict, charge.reason = gone.verdict, gone.reason
                    self._announce(session, NoticeKind.CHARGE, key)
                return _outcome(charge)
        except IntegrityError:  # it arrived meanwhile
            return self.cancel(key=key, amount=amount)

    def refund(self, *, key: str, charge_key: str, amount: Money, retries: int = 0) -> None:
        self._travel()
        with own_transaction() as session:
            charge = session.get(SimulatedCharge, charge_key, with_for_update=True)
            if session.get(SimulatedRefund, key) is not None:
                return
            if charge is None or charge.verdict is not Verdict.CAPTURED or charge.currency != amount.currency:
                raise RefundRefused("not_captured")
            if charge.refunded_minor + amount.amount_minor > charge.amount_minor:
                raise RefundRefused("more_than_captured")
            charge.refunded_minor += amount.amount_minor
            session.add(SimulatedRefund(key=key, charge_key=charge_key, amount_minor=amount.amount_minor))
            self._announce(session, NoticeKind.REFUND, key)

    def send_callbacks(self) -> bool:
        """Send the callbacks that are due; True when there may be more."""
        return self._callbacks is not None and self._callbacks.send_due(self.write_notice)

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        try:
            signed_at = int(headers.get("Simulated-Timestamp", ""))
        except ValueError:
            raise NoticeRefused("no timestamp") from None
        if not self._secret or not hmac.compare_digest(
            self._sign(body, signed_at).encode(), headers.get("Simulated-Signature", "").encode()
        ):
            raise NoticeRefused("wrong signature")
        if abs(clock.now().timestamp() - signed_at) > NOTICE_TOLERANCE_S:
            raise NoticeRefused("too old")
        try:
            document = orjson.loads(body)
            return Notice(NoticeKind(document["kind"]), str(document["key"]), str(document.get("detail", "")))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    def write_notice(self, notice: Notice, at: datetime | None = None) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a callback, signed as of an instant."""
        body = orjson.dumps({"kind": notice.kind, "key": notice.key, "detail": notice.detail})
        signed_at = int((at or clock.now()).timestamp())
        return body, {
            "Content-Type": "application/json",
            "Simulated-Timestamp": str(signed_at),
            "Simulated-Signature": self._sign(body, signed_at),
        }

    def _sign(self, body: bytes, signed_at: int) -> str:
        return hmac.new(self._secret, b"%d." % signed_at + body, hashlib.sha256).hexdigest()

    def _announce(self, session: Session, kind: NoticeKind, key: str) -> None:
        if self._callbacks is not None:
            self._callbacks.announce(session, kind, key)

    def _find(self, key: str) -> Outcome | None:
        with reading() as session:
            charge = session.get(SimulatedCharge, key)
            return None if charge is None else _outcome(charge)

    def _travel(self) -> None:
        if self.down or random.random() < self._failure_rate:  # noqa: S311 (a game of chance, not a secret)
            raise GatewayDown("connection refused")
        if self._latency_s:
            self._sleep(self._latency_s)


def _record(session: Session, key: str, amount: Money, outcome: Outcome) -> None:
    insert_rows(
        session,
        SimulatedCharge(
            key=key,
            amount_minor=amount.amount_minor,
            currency=amount.currency,
            verdict=outcome.verdict,
            reason=outcome.reason,
            refunded_minor=0,
            created_at=clock.now(),
        ),
    )


def _token(key: str) -> str:
    return f"tok_{key}"


def _outcome(charge: SimulatedCharge) -> Outcome:
    return Outcome(charge.verdict, charge.reason)


def _behaviour(card: Card) -> Behaviour:
    return TEST_CARDS.get(card.number.get_secret_value(), Behaviour.APPROVE)


def _behaviour_of_token(token: str) -> Behaviour:
    with reading() as session:
        found = session.scalar(select(SimulatedToken.behaviour).where(SimulatedToken.token == token))
    return found or Behaviour.DECLINE
