"""Prepaid life: transfers, vouchers, recharging by itself, several currencies, customers who go."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from common import clock, ids
from common.contracts import violation
from common.db import reading, transaction
from payment.gateway import Outcome, Verdict
from payment.handlers import HANDLERS
from payment.jobs import advance_payments, make_refunds
from payment.models import LARGEST_BALANCE_MINOR, SavedMethod, Voucher
from payment.use_cases.vouchers import GUESSES
from tests.support.payments import (
    DECLINED,
    WALLET,
    assert_books_hold,
    balance,
    card,
    gateway_of,
    lkr,
    new_order,
    pay,
    top_up,
)
from tests.support.services import an_event, bearer, deliver, emitted

ADMIN = ids.new_id()


def customer(phone: str = "+94771234567") -> str:
    user_id = ids.new_id()
    deliver(HANDLERS, an_event("user.created", user_id, {"user_id": user_id, "phone": phone}))
    return user_id


def go(user_id: str) -> None:
    """The customer leaves; tokens made from now on would still be valid."""
    at = clock.now() - timedelta(minutes=1)
    deliver(HANDLERS, an_event("user.deactivated", user_id, {"user_id": user_id, "reason": "left"}, time=at))


def send(client: FlaskClient, user_id: str, phone: str, amount: int, key: str | None = None) -> TestResponse:
    return client.post(
        "/api/payment/wallet/transfers",
        json={"to_phone": phone, "amount": lkr(amount)},
        headers=bearer(user_id, key=key or ids.new_id()),
    )


def test_money_is_sent_to_a_number_once_and_never_below_zero(client: FlaskClient) -> None:
    me, you, key = customer(), customer("+94777654321"), ids.new_id()
    top_up(client, me, 50_000)
    first = send(client, me, "077 765 4321", 30_000, key)
    assert (first.status_code, first.json["amount"], first.json["reason"]) == (201, lkr(-30_000), "transfer")
    assert send(client, me, "077 765 4321", 30_000, key).data == first.data
    assert send(client, me, "+94777654321", 30_000).json["code"] == "wallet_balance_too_low"
    assert (balance(client, me), balance(client, you)) == (20_000, 30_000)
    assert send(client, me, "+94771234567", 1).status_code == 422
    assert send(client, me, "+94770000000", 1).json["code"] == "recipient_unknown"
    assert send(client, me, "hello", 1).status_code == 422
    told = [event for event in emitted() if event.data.get("reason") == "transfer"]
    assert {(event.type, event.subject) for event in told} == {
        ("wallet.debited", me),
        ("wallet.credited", you),
    }
    assert all(violation(event.type, event.data) is None for event in told)
    assert_books_hold()


def test_transfers_across_each_other_neither_deadlock_nor_overdraw(app: Flask, client: FlaskClient) -> None:
    me, you = customer(), customer("+94777654321")
    top_up(client, me, 30_000)
    top_up(client, you, 30_000)

    def one(number: int) -> int:
        sender, phone = ((me, "+94777654321"), (you, "+94771234567"))[number % 2]
        return send(app.test_client(), sender, phone, 20_000).status_code

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(one, range(6)))
    assert set(codes) <= {201, 409}
    assert balance(client, me) + balance(client, you) == 60_000
    assert_books_hold()


def import_batch(client: FlaskClient, codes: list[str], **more: object) -> TestResponse:
    body = {"batch": "B1", "amount": lkr(50_000), "codes": codes} | more
    return client.post("/api/payment/admin/vouchers", json=body, headers=bearer(ADMIN, "admin"))


def redeem(client: FlaskClient, user_id: str, code: str) -> TestResponse:
    return client.post("/api/payment/wallet/vouchers", json={"code": code}, headers=bearer(user_id))


def test_a_voucher_is_credited_once_whoever_tries(app: Flask, client: FlaskClient) -> None:
    me, code = customer(), "1234567890123456"
    assert import_batch(client, [code, code, "9999888877776666"]).json["imported"] == 2
    assert import_batch(client, [code]).json == {"batch": "B1", "imported": 0, "known": 1}
    with reading() as session:
        assert code not in repr([vars(voucher) for voucher in session.scalars(select(Voucher))])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: redeem(app.test_client(), me, "1234-5678 9012 3456"), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]
    assert balance(client, me) == 50_000
    assert import_batch(client, [code]).json["imported"] == 0
    assert_books_hold()


def test_guessing_codes_locks_the_guesser_and_nobody_else(client: FlaskClient) -> None:
    me, you, good = customer(), customer("+94777654321"), "1234567890123456"
    import_batch(client, [good])
    with clock.frozen(clock.now()):
        for number in range(GUESSES):
            assert redeem(client, me, f"{number:016}").json["code"] == "voucher_invalid"
        answer = redeem(client, me, good)
        assert (answer.status_code, answer.json["code"]) == (429, "too_many_attempts")
        assert int(answer.headers["Retry-After"]) > 3000
        assert redeem(client, you, f"{1:016}").status_code == 422
        clock.move(timedelta(minutes=61))
        assert redeem(client, me, good).status_code in (201, 401)


def test_vouchers_run_out_and_are_the_admins_to_import(client: FlaskClient) -> None:
    me = customer()
    yesterday = (clock.today() - timedelta(days=1)).isoformat()
    import_batch(client, ["1234567890123456"], expires_on=yesterday)
    assert redeem(client, me, "1234567890123456").status_code == 422
    answer = client.post("/api/payment/admin/vouchers", json={}, headers=bearer(me))
    assert answer.status_code == 403
    for codes in ([], ["12"], ["1234567890123456"] * 10_001):
        assert import_batch(client, codes).status_code == 422


def test_a_right_code_forgives_the_wrong_ones_before_it(client: FlaskClient) -> None:
    me, good = customer(), [f"123456789012345{n}" for n in range(2)]
    import_batch(client, good)
    for code in good:
        for number in range(GUESSES - 1):
            assert redeem(client, me, f"{number:016}").status_code == 422
        assert redeem(client, me, code).status_code == 201


def test_stolen_hashes_of_vouchers_cannot_be_tried_out(client: FlaskClient) -> None:
    import_batch(client, ["1234567890123456"])
    with reading() as session:
        assert session.scalars(select(Voucher.code_hash)).one() != sha256(b"1234567890123456").hexdigest()


def test_money_is_sent_to_whose_number_it_is_now(client: FlaskClient) -> None:
    me, you, other = customer(), customer("+94777654321"), "+94770000000"
    top_up(client, me, 50_000)
    moved, before = clock.now() + timedelta(seconds=2), clock.now() + timedelta(seconds=1)
    for at, phone in ((moved, other), (before, "+94771111111")):
        data = {"user_id": you, "phone": phone}
        deliver(HANDLERS, an_event("user.updated", you, data, time=at))
    assert send(client, me, "+94777654321", 1_000).json["code"] == "recipient_unknown"
    assert send(client, me, other, 1_000).status_code == 201
    assert balance(client, you) == 1_000
    go(you)
    assert send(client, me, other, 1_000).json["code"] == "recipient_unknown"


def test_money_is_sent_to_the_new_owner_of_a_number_while_the_old_ones_change_is_on_the_way(
    client: FlaskClient,
) -> None:
    me, new_owner, _old_owner = customer(), customer("+94770000000"), customer("+94777654321")
    top_up(client, me, 50_000)
    data, at = {"user_id": new_owner, "phone": "+94777654321"}, clock.now() + timedelta(seconds=1)
    deliver(HANDLERS, an_event("user.updated", new_owner, data, time=at))
    assert send(client, me, "+94777654321", 1_000).status_code == 201
    assert balance(client, new_owner) == 1_000


def recharging(client: FlaskClient, user_id: str, number: str = "4242424242424242") -> None:
    saved = client.post("/api/payment/methods", json=card(number)["card"], headers=bearer(user_id)).json["id"]
    answer = client.put(
        "/api/payment/wallet/settings",
        json={
            "low_balance": lkr(0),
            "auto_recharge": {"below": lkr(10_000), "amount": lkr(40_000), "saved_method_id": saved},
        },
        headers=bearer(user_id),
    )
    assert answer.status_code == 200, answer.text


def spend(client: FlaskClient, user_id: str, amount: int) -> None:
    answer = pay(client, user_id, new_order(user_id, amount), method=WALLET, amount_minor=amount)
    assert answer.status_code == 201


def test_a_wallet_below_its_bound_is_recharged_once(client: FlaskClient) -> None:
    me = customer()
    top_up(client, me, 30_000)
    recharging(client, me)
    spend(client, me, 15_000)
    assert advance_payments() is False
    assert balance(client, me) == 15_000
    spend(client, me, 6_000)
    spend(client, me, 1_000)
    advance_payments()
    advance_payments()
    assert balance(client, me) == 48_000
    spend(client, me, 40_000)
    advance_payments()
    assert balance(client, me) == 48_000
    assert_books_hold()


def test_recharging_that_is_set_up_below_its_bound_begins_at_once(client: FlaskClient) -> None:
    me = customer()
    top_up(client, me, 5_000)
    recharging(client, me)
    advance_payments()
    assert balance(client, me) == 45_000


def test_who_has_gone_is_not_recharged(client: FlaskClient) -> None:
    me = customer()
    top_up(client, me, 30_000)
    recharging(client, me)
    go(me)
    spend(client, me, 25_000)
    advance_payments()
    assert balance(client, me) == 5_000
    assert len(emitted("payment.completed")) == 2, (
        "the top-up and what was bought, no recharge that goes back"
    )


def test_new_settings_give_a_declined_card_three_tries_again(client: FlaskClient) -> None:
    me = customer()
    top_up(client, me, 10_000)
    for _ in range(2):
        recharging(client, me, DECLINED)
        for _ in range(2):
            spend(client, me, 1_000)
            advance_payments()
    shown = client.get("/api/payment/wallet/settings", headers=bearer(me)).json
    assert shown["auto_recharge"] is not None


@pytest.mark.parametrize("how", ["removed", "expired"])
def test_a_card_that_is_not_there_any_more_is_not_charged_again(client: FlaskClient, how: str) -> None:
    me = customer()
    top_up(client, me, 30_000)
    recharging(client, me)
    (saved,) = client.get("/api/payment/methods", headers=bearer(me)).json["items"]
    if how == "removed":
        client.delete(f"/api/payment/methods/{saved['id']}", headers=bearer(me))
    else:
        with transaction() as session:
            session.get_one(SavedMethod, saved["id"]).exp_year = 2025
    spend(client, me, 25_000)
    advance_payments()
    assert balance(client, me) == 5_000
    shown = client.get("/api/payment/wallet/settings", headers=bearer(me)).json
    assert shown["auto_recharge"] is None


def test_only_declines_in_a_row_end_the_recharging(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, gateway = customer(), gateway_of(app)
    top_up(client, me, 12_000)
    recharging(client, me)
    for fate in ("declined", "declined", "captured", "declined", "declined"):
        with monkeypatch.context() as patch:
            if fate == "declined":
                patch.setattr(gateway, "charge", lambda **_: Outcome(Verdict.DECLINED, "card_declined"))
            spend(client, me, balance(client, me) - 9_000)
            advance_payments()
        top_up(client, me, 2_000)
    assert len(emitted("payment.failed")) == 4
    shown = client.get("/api/payment/wallet/settings", headers=bearer(me)).json
    assert shown["auto_recharge"] is not None


def test_a_card_that_is_declined_thrice_ends_the_recharging(client: FlaskClient) -> None:
    me = customer()
    top_up(client, me, 10_000)
    recharging(client, me, DECLINED)
    for _ in range(4):
        spend(client, me, 1_000)
        advance_payments()
    assert len(emitted("payment.failed")) == 3
    shown = client.get("/api/payment/wallet/settings", headers=bearer(me)).json
    assert shown["auto_recharge"] is None
    assert balance(client, me) == 6_000


def test_no_wallet_is_filled_beyond_what_amounts_can_say(client: FlaskClient) -> None:
    me, you, most = customer(), customer("+94777654321"), LARGEST_BALANCE_MINOR
    top_up(client, me, most)
    for amount in (1, 10**15):
        answer = pay(client, me, None, kind="top_up", amount_minor=amount)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "amount")
    top_up(client, you, 50_000)
    refused = send(client, you, "+94771234567", 1)
    assert (refused.status_code, refused.json["code"]) == (409, "wallet_full")
    import_batch(client, ["1234567890123456"])
    refused = redeem(client, me, "1234567890123456")
    assert (refused.status_code, refused.json["code"]) == (409, "wallet_full")
    assert redeem(client, you, "1234567890123456").status_code == 201
    assert (balance(client, me), balance(client, you)) == (most, 100_000)
    recharge = {"below": lkr(1), "amount": lkr(most), "saved_method_id": me}
    body = {"low_balance": lkr(1), "auto_recharge": recharge}
    assert client.put("/api/payment/wallet/settings", json=body, headers=bearer(me)).status_code == 422
    assert_books_hold()


def test_settings_make_sense_or_are_refused(client: FlaskClient) -> None:
    me, path = customer(), "/api/payment/wallet/settings"
    dollars = {"amount_minor": 5, "currency": "USD"}
    for body, status in (
        ({"low_balance": lkr(-1)}, 422),
        ({"low_balance": dollars}, 404),
        (
            {
                "low_balance": lkr(1),
                "auto_recharge": {"below": dollars, "amount": lkr(5), "saved_method_id": me},
            },
            422,
        ),
        (
            {
                "low_balance": lkr(1),
                "auto_recharge": {"below": lkr(5), "amount": lkr(5), "saved_method_id": me},
            },
            404,
        ),
    ):
        assert client.put(path, json=body, headers=bearer(me)).status_code == status


def test_each_currency_has_a_wallet_of_its_own(client: FlaskClient) -> None:
    me, dollars = customer(), {"amount_minor": 700, "currency": "USD"}
    body = {"amount": dollars, "method": card()}
    path = "/api/payment/wallet/top-ups"
    assert client.post(path, json=body, headers=bearer(me, key="k")).status_code == 201
    assert client.get("/api/payment/wallets", headers=bearer(me)).json["items"] == [
        {"balance": lkr(0)},
        {"balance": dollars},
    ]
    answer = pay(client, me, new_order(me, 700), method=WALLET, amount_minor=700)
    assert answer.json["code"] == "insufficient_balance"
    import_batch(client, ["1234567890123456"], amount=dollars)
    assert redeem(client, me, "1234567890123456").json["amount"] == dollars
    shown = client.get("/api/payment/wallet?currency=USD", headers=bearer(me)).json
    assert shown == {"balance": {"amount_minor": 1_400, "currency": "USD"}}
    assert balance(client, me) == 0
    assert_books_hold()


def test_a_top_up_that_cannot_be_credited_goes_back_by_itself(client: FlaskClient) -> None:
    me = customer()
    go(me)
    answer = pay(client, me, None, kind="top_up", amount_minor=9_000)
    assert (answer.status_code, answer.json["state"]) == (201, "refunding")
    make_refunds()
    assert balance(client, me) == 0
    assert len(emitted("payment.refunded")) == 1
    assert_books_hold()
