"""Orders, payments, refunds, top-ups, lost answers and deaths in any order: when all has come to rest, every rupee
that came in went out again or is a balance, and nothing was charged, credited or told twice.

A small number of examples here; `PAYMENT_EXAMPLES=50 PAYMENT_STEPS=50`, repeated, for a long run.
"""

import os
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from common import clock, ids
from common.db import reading
from common.messaging import Event
from payment.gateway import GatewayDown, GatewayTrouble
from payment.gateway.simulated import SimulatedCharge, SimulatedGateway
from payment.jobs import advance_payments, make_refunds
from payment.models import (
    PENDING,
    MethodType,
    Payment,
    ReferenceType,
    Refund,
    RefundState,
    Wallet,
    WalletEntry,
)
from payment.use_cases import payments, refunds
from tests.support.payments import (
    ASKS_OTP,
    DECLINED,
    GOOD,
    LOSES_ANSWER,
    WALLET,
    assert_books_hold,
    card,
    gateway_of,
    order_event,
    pay,
)
from tests.support.services import bearer, emitted

EXAMPLES = int(os.environ.get("PAYMENT_EXAMPLES", "5"))
STEPS = int(os.environ.get("PAYMENT_STEPS", "20"))
PRICE = 10_000
CARDS = st.sampled_from((GOOD, GOOD, DECLINED, ASKS_OTP, LOSES_ANSWER))
ACCIDENTS = st.sampled_from(
    (None, None, "down", "lost before", "lost after", "killed before", "killed after", "killed settling")
)
CALLS = ("charge", "refund", "look_up", "cancel", "confirm")


class Killed(BaseException):
    """kill -9: nothing catches it."""


class Accidents:
    """Makes the next call to the gateway, or the transaction after it, go wrong in a chosen way."""

    def __init__(self, gateway: SimulatedGateway, patch: pytest.MonkeyPatch) -> None:
        self.next: str | None = None
        for name in CALLS:
            setattr(gateway, name, self._around(getattr(gateway, name)))
        for place, name in ((payments, "settle_charge"), (refunds, "settle_refund")):
            patch.setattr(place, name, self._within(getattr(place, name)))

    def _within(self, settle: Any) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            accident, self.next = self.next, None
            done = settle(*given, **named)
            if accident == "killed settling":
                raise Killed
            return done

        return run

    def _around(self, call: Any) -> Any:
        def run(**given: Any) -> Any:
            if self.next == "killed settling":
                return call(**given)
            accident, self.next = self.next, None
            if accident == "down":
                raise GatewayDown("down")
            if accident == "lost before":
                raise GatewayTrouble("lost")
            if accident == "killed before":
                raise Killed
            answer = call(**given)
            if accident == "lost after":
                raise GatewayTrouble("lost")
            if accident == "killed after":
                raise Killed
            return answer

        return run


class Shop(RuleBasedStateMachine):
    """One customer of a fresh user id per example."""

    def __init__(self, app: Flask, accidents: Accidents) -> None:
        super().__init__()
        self.app, self.accidents = app, accidents
        self.me, self.agent = ids.new_id(), ids.new_id()
        self.orders: list[str] = []
        self.closed: set[str] = set()
        self.frozen = clock.frozen(clock.now())
        self.frozen.__enter__()

    @rule(early=st.booleans())
    def order(self, early: bool) -> None:
        order_id = ids.new_id()
        if early:
            self._attempt(lambda: pay(self.client, self.me, order_id, amount_minor=PRICE))
        order_event("order.created", order_id, self.me, PRICE)
        self.orders.append(order_id)

    @rule(pick=st.integers(0, 9), number=CARDS, accident=ACCIDENTS, again=st.booleans())
    def pay_by_card(self, pick: int, number: str, accident: str | None, again: bool) -> None:
        if self.orders:
            order_id, key = self.orders[pick % len(self.orders)], ids.new_id()
            self.accidents.next = accident
            for _ in range(1 + again):
                self._attempt(
                    lambda: pay(
                        self.client, self.me, order_id, method=card(number), amount_minor=PRICE, key=key
                    )
                )

    @rule(pick=st.integers(0, 9))
    def pay_by_wallet(self, pick: int) -> None:
        if self.orders:
            order_id = self.orders[pick % len(self.orders)]
            self._attempt(lambda: pay(self.client, self.me, order_id, method=WALLET, amount_minor=PRICE))

    @rule(number=CARDS, accident=ACCIDENTS, amount=st.integers(1, 25_000))
    def top_up(self, number: str, accident: str | None, amount: int) -> None:
        self.accidents.next = accident
        self._attempt(
            lambda: pay(self.client, self.me, None, kind="top_up", method=card(number), amount_minor=amount)
        )

    @rule(pick=st.integers(0, 9), kind=st.sampled_from(("order.cancelled", "order.failed")))
    def close(self, pick: int, kind: str) -> None:
        if self.orders:
            order_id = self.orders[pick % len(self.orders)]
            order_event(kind, order_id, self.me, PRICE)
            self.closed.add(order_id)

    @rule(pick=st.integers(0, 9), otp=st.sampled_from(("123456", "000000")), accident=ACCIDENTS)
    def confirm(self, pick: int, otp: str, accident: str | None) -> None:
        found = self._mine()
        if found:
            self.accidents.next = accident
            path = f"/api/payment/payments/{found[pick % len(found)].id}/confirm"
            self._attempt(lambda: self.client.post(path, json={"otp": otp}, headers=bearer(self.me)))

    @rule(pick=st.integers(0, 9), amount=st.one_of(st.none(), st.integers(1, 12_000)))
    def refund(self, pick: int, amount: int | None) -> None:
        found = self._mine()
        if found:
            path = f"/api/payment/payments/{found[pick % len(found)].id}/refunds"
            body: dict[str, Any] = {"reason": "goodwill"}
            if amount is not None:
                body["amount"] = {"amount_minor": amount, "currency": "LKR"}
            headers = bearer(self.agent, "agent", key=ids.new_id())
            self._attempt(lambda: self.client.post(path, json=body, headers=headers))

    @rule(seconds=st.sampled_from((1, 10, 60, 4_000)), accident=ACCIDENTS)
    def work(self, seconds: int, accident: str | None) -> None:
        clock.move(timedelta(seconds=seconds))
        self.accidents.next = accident
        for job in (advance_payments, make_refunds):
            self._attempt(job)

    @invariant()
    def no_wallet_is_below_zero_and_every_transfer_adds_up(self) -> None:
        with reading() as session:
            sums = select(func.sum(WalletEntry.amount_minor)).group_by(WalletEntry.transfer_id)
            assert set(session.scalars(sums)) <= {0}
            assert (session.scalar(select(func.min(Wallet.balance_minor))) or 0) >= 0

    def teardown(self) -> None:
        self.accidents.next = None
        for _ in range(12):
            clock.move(timedelta(hours=2))
            advance_payments()
            make_refunds()
        self.frozen.__exit__(None, None, None)
        self._all_is_at_rest()

    def _all_is_at_rest(self) -> None:
        assert_books_hold()
        told = emitted()
        self._every_event_has_its_row(told)
        with reading() as session:
            for payment in self._mine():
                assert payment.state not in PENDING
                events = [e.type for e in told if e.data.get("payment_id") == payment.id]
                assert events.count("payment.completed") + events.count("payment.failed") == 1
                made = session.scalars(select(Refund).where(Refund.payment_id == payment.id)).all()
                assert all(refund.state is RefundState.COMPLETED for refund in made)
                assert sum(refund.amount_minor for refund in made) == payment.refunded_minor
                assert events.count("payment.refunded") == len(made)
                rows = select(func.count()).where(WalletEntry.source_id == payment.id)
                assert session.scalar(rows) == (2 if payment.completed_at is not None else 0)
                charge = session.get(SimulatedCharge, payment.id)
                if payment.method_type is not MethodType.WALLET and payment.completed_at is not None:
                    assert charge is not None
                    assert charge.refunded_minor == payment.refunded_minor
            for order_id in self.orders:
                kept = sum(p.amount_minor - p.refunded_minor for p in self._kept(order_id))
                assert kept <= (0 if order_id in self.closed else PRICE)

    def _every_event_has_its_row(self, told: list[Event]) -> None:
        """And says of it what it says."""
        with reading() as session:
            for event in told:
                if "entry_id" in event.data:
                    entry = session.get_one(WalletEntry, event.data["entry_id"])
                    assert abs(entry.amount_minor) == event.data["amount"]["amount_minor"]
                    continue
                payment = session.get_one(Payment, event.data["payment_id"])
                assert payment.user_id == event.subject
                moved: Payment | Refund = payment
                if "refund_id" in event.data:
                    moved = session.get_one(Refund, event.data["refund_id"])
                    assert moved.payment_id == payment.id
                assert moved.amount_minor == event.data["amount"]["amount_minor"]

    def _kept(self, order_id: str) -> list[Payment]:
        return [p for p in self._mine() if p.reference_id == order_id and p.completed_at is not None]

    def _mine(self) -> list[Payment]:
        with reading() as session:
            found = session.scalars(select(Payment).where(Payment.user_id == self.me).order_by(Payment.id))
            return [p for p in found if p.reference_type in tuple(ReferenceType)]

    @property
    def client(self) -> Any:
        return self.app.test_client()

    def _attempt(self, work: Any) -> None:
        try:
            answer = work()
        except Killed:
            return
        assert getattr(answer, "status_code", 200) < 500 or answer.status_code == 503


def test_whatever_happens_in_whatever_order_every_rupee_is_accounted_for(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    accidents = Accidents(gateway_of(app), monkeypatch)
    app.extensions["sricare_settings"] = app.extensions["sricare_settings"].model_copy(
        update={"reference_wait_s": 0.0}
    )
    run_state_machine_as_test(
        lambda: Shop(app, accidents),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="PAYMENT_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
