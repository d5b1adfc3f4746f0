"""What payment relies on at every card gateway: the simulated one, and Stripe's SDK against recorded shapes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from common import clock, ids
from common.db import db, reading, upgrade
from common.money import Money
from payment.cards import Card
from payment.gateway import (
    Gateway,
    GatewayDown,
    GatewayTrouble,
    Notice,
    NoticeKind,
    NoticeRefused,
    Outcome,
    RefundRefused,
    Verdict,
)
from payment.gateway.simulated import SimulatedGateway, SimulatedToken
from payment.gateway.stripe import StripeGateway
from tests.support.cards import EXPIRY_YEAR
from tests.support.payments import ASKS_OTP, CVC, DECLINED, GOOD, LOSES_ANSWER, NO_FUNDS
from tests.support.services import make_app
from tests.support.stripe_server import WEBHOOK_SECRET, FakeStripe, signed, stripe_server

AMOUNT = Money(amount_minor=120_000, currency="LKR")


class House:
    """A gateway, and what only the world outside can do to it."""

    def __init__(
        self,
        gateway: Gateway,
        break_it: Callable[[], None],
        pass_challenge: Callable[[str], Outcome],
        cards: Callable[[], int],
    ) -> None:
        self.gateway, self.break_it, self.pass_challenge, self.cards = (
            gateway,
            break_it,
            pass_challenge,
            cards,
        )


@pytest.fixture(params=["simulated", "stripe"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        if request.param == "simulated":
            app = make_app("payment", f"sqlite:///{tmp_path / 'payment.sqlite3'}", tmp_path)
            stack.enter_context(app.app_context())
            upgrade()
            stack.callback(db.engine.dispose)
            simulated = SimulatedGateway(webhook_secret=WEBHOOK_SECRET)
            yield House(
                simulated,
                lambda: setattr(simulated, "down", True),
                lambda key: simulated.confirm(key=key, amount=AMOUNT, otp="123456"),
                simulated_cards,
            )
        else:
            fake = stack.enter_context(stripe_server())
            stripe = StripeGateway("sk_test_x", WEBHOOK_SECRET, "http://localhost:8000", fake.url)
            yield House(
                stripe,
                lambda: setattr(fake, "outage", True),
                lambda key: pass_3ds(fake, stripe, key),
                lambda: len(fake.customers),
            )


def simulated_cards() -> int:
    with reading() as session:
        return session.scalar(select(func.count(SimulatedToken.token))) or 0


def pass_3ds(fake: FakeStripe, stripe: StripeGateway, key: str) -> Outcome:
    (intent,) = [i for i in fake.intents.values() if i["metadata"]["payment_id"] == key]
    fake.authenticate(intent["id"])
    return stripe.confirm(key=key, amount=AMOUNT, otp="000000")


def a_card(number: str = GOOD) -> Card:
    return Card(SecretStr(number), 12, EXPIRY_YEAR, SecretStr(CVC), "N Perera")


def charge(house: House, number: str = GOOD, key: str | None = None) -> tuple[str, Outcome]:
    key = key or ids.new_id()
    return key, house.gateway.charge(key=key, amount=AMOUNT, source=a_card(number))


def test_a_charge_is_captured_once_per_key(house: House) -> None:
    key, outcome = charge(house)
    assert outcome.verdict is Verdict.CAPTURED
    assert charge(house, key=key)[1].verdict is Verdict.CAPTURED
    house.gateway.refund(key=ids.new_id(), charge_key=key, amount=AMOUNT)
    with pytest.raises(RefundRefused):
        house.gateway.refund(key=ids.new_id(), charge_key=key, amount=Money(amount_minor=1, currency="LKR"))


@pytest.mark.parametrize(
    ("number", "reason"), [(DECLINED, "card_declined"), (NO_FUNDS, "insufficient_funds")]
)
def test_declines_come_with_our_reason_codes_and_stay(house: House, number: str, reason: str) -> None:
    key, outcome = charge(house, number)
    assert outcome == Outcome(Verdict.DECLINED, reason)
    known = house.gateway.look_up(key=key, amount=AMOUNT)
    assert known is not None
    assert known.verdict is Verdict.DECLINED
    assert charge(house, GOOD, key)[1].verdict is Verdict.DECLINED


def test_a_lost_answer_is_found_by_asking(house: House) -> None:
    key = ids.new_id()
    with pytest.raises(GatewayTrouble) as trouble:
        charge(house, LOSES_ANSWER, key)
    assert not isinstance(trouble.value, GatewayDown)
    assert house.gateway.look_up(key=key, amount=AMOUNT) == Outcome(Verdict.CAPTURED)


def test_a_gateway_that_cannot_be_reached_says_that_it_moved_nothing(house: House) -> None:
    house.break_it()
    with pytest.raises(GatewayDown):
        charge(house)
    for call in (
        lambda: house.gateway.look_up(key=ids.new_id(), amount=AMOUNT),
        lambda: house.gateway.cancel(key=ids.new_id(), amount=AMOUNT),
        lambda: house.gateway.tokenise(a_card(), key=ids.new_id()),
    ):
        with pytest.raises(GatewayTrouble):
            call()


def test_an_unheard_of_key_is_unknown_and_once_cancelled_never_charged(house: House) -> None:
    key = ids.new_id()
    assert house.gateway.look_up(key=key, amount=AMOUNT) is None
    assert house.gateway.cancel(key=key, amount=AMOUNT).verdict is Verdict.CANCELLED
    assert charge(house, key=key)[1].verdict is Verdict.CANCELLED


def test_a_captured_charge_is_not_cancelled(house: House) -> None:
    key, _ = charge(house)
    assert house.gateway.cancel(key=key, amount=AMOUNT).verdict is Verdict.CAPTURED


def test_a_challenge_is_passed_or_given_up(house: House) -> None:
    key, outcome = charge(house, ASKS_OTP)
    assert outcome.verdict is Verdict.ACTION_REQUIRED
    wrong = house.gateway.confirm(key=key, amount=AMOUNT, otp="000000")
    assert wrong.verdict is Verdict.ACTION_REQUIRED
    assert house.pass_challenge(key).verdict is Verdict.CAPTURED
    other, _ = charge(house, ASKS_OTP)
    assert house.gateway.cancel(key=other, amount=AMOUNT).verdict is Verdict.CANCELLED


def test_a_token_is_charged_any_number_of_times_until_it_is_forgotten(house: House) -> None:
    left = house.gateway.tokenise(a_card(), key=ids.new_id())
    assert (left.brand, left.last4) == ("visa", "4242")
    assert GOOD not in left.token
    for _ in range(2):
        paid = house.gateway.charge(key=ids.new_id(), amount=AMOUNT, source=left.token)
        assert paid.verdict is Verdict.CAPTURED
    assert house.cards() == 1
    for _ in range(2):
        house.gateway.forget(left.token)
        assert house.cards() == 0


def test_a_card_is_dropped_by_its_key_when_its_token_never_came_back(house: House) -> None:
    key = ids.new_id()
    for _ in range(2):
        house.gateway.tokenise(a_card(), key=key)
        assert house.cards() == 1
    for dropped in (key, key, ids.new_id()):
        house.gateway.forget_left(dropped)
        assert house.cards() == 0


def test_refunds_are_made_once_per_key_and_never_above_what_was_captured(house: House) -> None:
    key, _ = charge(house)
    part = Money(amount_minor=70_000, currency="LKR")
    refund = ids.new_id()
    for _ in range(3):
        house.gateway.refund(key=refund, charge_key=key, amount=part)
    with pytest.raises(RefundRefused):
        house.gateway.refund(key=ids.new_id(), charge_key=key, amount=part)
    with pytest.raises(RefundRefused):
        house.gateway.refund(key=ids.new_id(), charge_key=ids.new_id(), amount=part)
    house.gateway.refund(key=ids.new_id(), charge_key=key, amount=Money(amount_minor=50_000, currency="LKR"))


def test_a_callback_is_believed_only_when_signed_and_fresh(house: House) -> None:
    key = ids.new_id()
    if isinstance(house.gateway, SimulatedGateway):
        notice = Notice(NoticeKind.CHARGE, key)
        body, headers = house.gateway.write_notice(notice)
        old = house.gateway.write_notice(notice, at=clock.now() - timedelta(minutes=6))
    else:
        thing = {"id": "pi_1", "object": "payment_intent", "metadata": {"payment_id": key}}
        body, headers = signed("payment_intent.succeeded", thing)
        old = signed("payment_intent.succeeded", thing, age_s=360)
    assert house.gateway.read_notice(body, headers) == Notice(NoticeKind.CHARGE, key)
    for wrong in ((body + b" ", headers), (body, {}), old):
        with pytest.raises(NoticeRefused):
            house.gateway.read_notice(*wrong)


def test_stripe_is_asked_by_search_and_list_when_its_idempotency_keys_are_gone() -> None:
    with stripe_server() as fake, clock.frozen(clock.now()):
        gateway = StripeGateway("sk_test_x", WEBHOOK_SECRET, "http://localhost:8000", fake.url)
        house = House(gateway, lambda: None, lambda _: Outcome(Verdict.PENDING), lambda: len(fake.customers))
        key, _ = charge(house)
        refund, left = ids.new_id(), ids.new_id()
        gateway.refund(key=refund, charge_key=key, amount=AMOUNT)
        gateway.tokenise(a_card(), key=left)
        fake._answers.clear()
        clock.move(timedelta(days=3))
        assert gateway.look_up(key=key, amount=AMOUNT) == Outcome(Verdict.CAPTURED)
        assert gateway.look_up(key=ids.new_id(), amount=AMOUNT) is None
        gateway.refund(key=refund, charge_key=key, amount=AMOUNT)
        assert len(fake.refunds) == 1
        assert fake.captured() == AMOUNT.amount_minor
        gateway.forget_left(ids.new_id())
        assert house.cards() == 1
        gateway.forget_left(left)
        assert house.cards() == 0


def test_a_refund_that_stripe_refused_is_weighed_anew_when_a_person_wants_it() -> None:
    with stripe_server() as fake:
        gateway = StripeGateway("sk_test_x", WEBHOOK_SECRET, "http://localhost:8000", fake.url)
        key, refund = ids.new_id(), ids.new_id()
        gateway.charge(key=key, amount=AMOUNT, source=a_card())
        fake.empty = True
        for _ in range(2):
            with pytest.raises(RefundRefused, match="balance_insufficient"):
                gateway.refund(key=refund, charge_key=key, amount=AMOUNT)
            fake.empty = False  # Stripe gives its first answer again all the same
        for _ in range(2):
            gateway.refund(key=refund, charge_key=key, amount=AMOUNT, retries=1)
        assert [made["status"] for made in fake.refunds] == ["succeeded"]
        fake.refunds[0]["status"] = "failed"
        for _ in range(2):
            gateway.refund(key=refund, charge_key=key, amount=AMOUNT, retries=2)
        assert [made["status"] for made in fake.refunds] == ["failed", "succeeded"]


@pytest.mark.parametrize(
    ("event_type", "thing", "notice"),
    [
        ("refund.failed", {"status": "failed", "failure_reason": "lost_card"}, NoticeKind.REFUND_FAILED),
        ("refund.updated", {"status": "succeeded"}, NoticeKind.REFUND),
    ],
)
def test_stripes_refund_callbacks_name_our_refund(event_type: str, thing: dict, notice: NoticeKind) -> None:
    gateway, key = StripeGateway("sk_test_x", WEBHOOK_SECRET, "http://localhost:8000"), ids.new_id()
    body, headers = signed(event_type, {"object": "refund", "metadata": {"refund_id": key}} | thing)
    read = gateway.read_notice(body, headers)
    assert read is not None
    assert (read.kind, read.key) == (notice, key)
    assert gateway.read_notice(*signed("invoice.paid", {"object": "invoice"})) is None
