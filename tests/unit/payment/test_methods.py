"""Saved cards: a token at the gateway, used by their owner, forgotten when removed."""

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from common import ids
from common.db import reading, transaction
from payment.gateway.simulated import SimulatedToken
from payment.jobs import forget_methods
from payment.models import SavedMethod
from tests.support.cards import EXPIRY_YEAR
from tests.support.payments import ASKS_OTP, DECLINED, card, gateway_of, new_order, pay
from tests.support.services import bearer

ME = ids.new_id()


def save(client: FlaskClient, user_id: str = ME, **changes: object) -> dict:
    answer = client.post("/api/payment/methods", json=card(**changes)["card"], headers=bearer(user_id))
    assert answer.status_code == 201, answer.text
    return answer.json


def saved(client: FlaskClient) -> list[dict]:
    return client.get("/api/payment/methods", headers=bearer(ME)).json["items"]


def tokens() -> int:
    with reading() as session:
        return len(session.scalars(select(SimulatedToken.token)).all())


def by(method_id: str) -> dict:
    return {"type": "saved", "saved_method_id": method_id}


def test_a_saved_card_pays_until_it_is_removed_and_the_gateway_forgets_it(client: FlaskClient) -> None:
    method = save(client)
    assert (method["brand"], method["last4"], method["exp_year"]) == ("visa", "4242", EXPIRY_YEAR)
    assert [item["id"] for item in saved(client)] == [method["id"]]
    paid = pay(client, ME, new_order(ME), method=by(method["id"]))
    assert (paid.status_code, paid.json["state"]) == (201, "completed")
    assert paid.json["method"] == {"type": "saved", "brand": "visa", "last4": "4242"}
    removed = client.delete(f"/api/payment/methods/{method['id']}", headers=bearer(ME))
    assert removed.status_code == 204
    assert saved(client) == []
    assert pay(client, ME, new_order(ME), method=by(method["id"])).status_code == 404
    forget_methods()
    assert tokens() == 0


def test_anothers_saved_card_is_unknown(client: FlaskClient) -> None:
    theirs = save(client, ids.new_id())["id"]
    assert pay(client, ME, new_order(ME), method=by(theirs)).status_code == 404
    assert client.delete(f"/api/payment/methods/{theirs}", headers=bearer(ME)).status_code == 404


def test_a_card_is_saved_by_the_payment_that_is_captured_with_it(client: FlaskClient) -> None:
    assert pay(client, ME, new_order(ME), save_method=True).status_code == 201
    (method,) = saved(client)
    assert pay(client, ME, new_order(ME), method=by(method["id"])).status_code == 201


def test_a_declined_card_is_not_saved(client: FlaskClient) -> None:
    assert pay(client, ME, new_order(ME), method=card(DECLINED), save_method=True).status_code == 402
    assert saved(client) == []
    forget_methods()
    assert tokens() == 0


def test_a_card_whose_bank_asks_is_saved_when_the_password_is_given(client: FlaskClient) -> None:
    waiting = pay(client, ME, new_order(ME), method=card(ASKS_OTP), save_method=True).json
    assert saved(client) == []
    path = f"/api/payment/payments/{waiting['id']}/confirm"
    assert client.post(path, json={"otp": "123456"}, headers=bearer(ME)).json["state"] == "completed"
    assert len(saved(client)) == 1


def test_an_expired_saved_card_is_refused(client: FlaskClient) -> None:
    method = save(client)
    with transaction() as session:
        session.get_one(SavedMethod, method["id"]).exp_year = 2025
    assert saved(client)[0]["expired"] is True
    assert pay(client, ME, new_order(ME), method=by(method["id"])).status_code == 422


def test_only_valid_cards_are_saved(app: Flask, client: FlaskClient) -> None:
    for wrong in ({"number": "4242424242424241"}, {"exp_year": 2024}, {"cvc": "1"}):
        answer = client.post("/api/payment/methods", json=card(**wrong)["card"], headers=bearer(ME))
        assert answer.status_code == 422
    gateway_of(app).down = True
    answer = client.post("/api/payment/methods", json=card()["card"], headers=bearer(ME))
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
