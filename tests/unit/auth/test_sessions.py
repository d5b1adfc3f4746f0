"""Registration, sign-in and the life of a session."""

from flask.testing import FlaskClient

from tests.support.services import emitted

NIMALI = {"phone": "0771234567", "password": "correct horse", "name": "Nimali"}


def register(client: FlaskClient, **changes: str) -> dict:
    answer = client.post("/api/auth/register", json=NIMALI | changes)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_registering_tells_the_platform_once_with_the_number_in_e164(client: FlaskClient) -> None:
    tokens = register(client)
    assert tokens["user"]["phone"] == "+94771234567"
    (event,) = emitted("user.created")
    assert event.subject == tokens["user"]["id"]
    assert event.data["phone"] == "+94771234567"


def test_one_account_per_number_in_whatever_form_it_comes(client: FlaskClient) -> None:
    register(client)
    again = client.post("/api/auth/register", json=NIMALI | {"phone": "+94 77 123 4567"})
    assert (again.status_code, again.json["code"]) == (409, "phone_already_registered")
    assert len(emitted("user.created")) == 1


def test_a_wrong_password_and_an_unknown_number_get_the_same_answer(client: FlaskClient) -> None:
    register(client)
    wrong = client.post("/api/auth/login", json={"phone": NIMALI["phone"], "password": "wrong horse"})
    unknown = client.post("/api/auth/login", json={"phone": "0770000001", "password": "wrong horse"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json["code"] == unknown.json["code"] == "invalid_credentials"
    assert wrong.json["detail"] == unknown.json["detail"]


def test_a_lost_refresh_answer_can_be_fetched_again_by_the_same_client(client: FlaskClient) -> None:
    first = register(client)["refresh_token"]
    once = client.post("/api/auth/refresh", json={"refresh_token": first})
    again = client.post("/api/auth/refresh", json={"refresh_token": first})
    assert once.status_code == again.status_code == 200
    assert once.json["refresh_token"] == again.json["refresh_token"] != first


def test_a_spent_refresh_token_from_another_client_ends_the_session(client: FlaskClient) -> None:
    first = register(client)["refresh_token"]
    second = client.post("/api/auth/refresh", json={"refresh_token": first}).json["refresh_token"]
    thief = client.post("/api/auth/refresh", json={"refresh_token": first}, headers={"User-Agent": "thief"})
    assert (thief.status_code, thief.json["code"]) == (401, "refresh_token_reused")
    owner = client.post("/api/auth/refresh", json={"refresh_token": second})
    assert (owner.status_code, owner.json["code"]) == (401, "invalid_refresh_token")
    assert [event.data["reason"] for event in emitted("session.revoked")] == ["refresh_token_reused"]


def test_a_customer_cannot_give_itself_a_role(client: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {register(client)['access_token']}"}
    answer = client.patch("/api/auth/me", json={"roles": ["admin"]}, headers=headers)
    assert answer.status_code == 422
    assert client.get("/api/auth/me", headers=headers).json["roles"] == ["customer"]
