"""A new number for an account: shown to be its user's, nobody else's, told to whoever has the old one."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.models import User
from auth.use_cases import contacts
from common.db import transaction
from tests.support.accounts import NIMALI, PASSWORD, Person, login, register, told, wrong
from tests.support.services import emitted

OLD, NEW = "+94771234567", "+94773333333"


def ask(client: FlaskClient, me: Person, phone: str = NEW) -> Any:
    return client.post("/api/auth/me/phone", json={"phone": phone}, headers=me.headers)


def give(client: FlaskClient, me: Person, code: str, phone: str = NEW) -> Any:
    body = {"phone": phone, "code": code}
    return client.post("/api/auth/me/phone/verify", json=body, headers=me.headers)


def code_sent() -> str:
    return str(told("user.phone.verification.requested")["code"])


def own_line(client: FlaskClient, me: Person) -> None:
    """Have the new number as a verified line."""
    line: Any = client.post("/api/auth/me/lines", json={"phone": NEW}, headers=me.headers)
    path = f"/api/auth/me/lines/{line.json['id']}"
    client.post(f"{path}/request", headers=me.headers)
    assert client.post(f"{path}/verify", json={"code": code_sent()}, headers=me.headers).status_code == 200


def test_a_new_number_is_the_accounts_once_its_code_is_given(client: FlaskClient) -> None:
    me = register(client)
    assert ask(client, me, "077 333 3333").status_code == 202
    assert told("user.phone.verification.requested")["phone"] == NEW
    assert give(client, me, wrong(code_sent())).json["code"] == "invalid_code"
    assert client.get("/api/auth/me", headers=me.headers).json["phone"] == OLD
    done = give(client, me, code_sent())
    assert (done.json["phone"], done.json["phone_verified"]) == (NEW, True)
    assert give(client, me, code_sent()).json["code"] == "invalid_code", "good once"
    assert login(client, phone=NEW).status_code == 200
    assert login(client, phone=OLD).status_code == 401


def test_the_change_is_told_and_the_old_number_is_free(client: FlaskClient) -> None:
    me = register(client)
    ask(client, me)
    give(client, me, code_sent())
    updated, changed = told("user.updated"), told("user.phone.changed")
    assert (updated["changed"], updated["phone"]) == (["phone"], NEW)
    assert (changed["old_phone"], changed["phone"]) == (OLD, NEW)
    assert told("user.verified")["target"] == NEW
    assert register(client, phone=OLD).id != me.id


def test_a_number_of_another_account_is_refused_also_when_it_became_that_meanwhile(
    client: FlaskClient,
) -> None:
    me, other = register(client), register(client, phone="0772222222")
    assert ask(client, me, other.phone).json["code"] == "phone_already_registered"
    assert ask(client, me, OLD).json["code"] == "phone_already_registered"
    ask(client, me)
    code = code_sent()
    register(client, phone=NEW)
    refused = give(client, me, code)
    assert (refused.status_code, refused.json["code"]) == (409, "phone_already_registered")
    assert client.get("/api/auth/me", headers=me.headers).json["phone"] == OLD
    assert not emitted("user.phone.changed")


def test_a_line_may_become_the_number_of_its_own_account_only(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    own_line(client, me)
    assert ask(client, other).json["code"] == "phone_already_registered"
    ask(client, me)
    assert give(client, me, code_sent()).json["phone"] == NEW
    assert told("user.updated")["lines"] == []
    assert client.get("/api/auth/me/lines", headers=me.headers).json["items"] == []


def test_a_code_is_for_the_number_and_the_account_that_it_was_asked_for(client: FlaskClient) -> None:
    me, other = register(client), register(client, phone="0772222222")
    ask(client, me)
    code = code_sent()
    assert give(client, me, code, "0774444444").json["code"] == "invalid_code"
    assert give(client, other, code).json["code"] == "invalid_code"
    assert ask(client, other).status_code == 429, "one code a minute to a number, whoever asks"


def test_a_number_that_becomes_a_line_and_an_account_at_once_becomes_one_of_them(
    client: FlaskClient, app: Flask
) -> None:
    me = register(client)
    line: Any = client.post("/api/auth/me/lines", json={"phone": NEW}, headers=me.headers)

    def open_an_account() -> int:
        body = {"phone": NEW, "password": PASSWORD, "name": "Somebody"}
        return app.test_client().post("/api/auth/register", json=body).status_code

    with ThreadPoolExecutor(1) as threads:
        with transaction() as session:
            mine = contacts.line_to_verify(session, user_id=me.id, line_id=line.json["id"])
            contacts.mark_line_verified(session, user=session.get_one(User, me.id), line=mine)
            other = threads.submit(open_an_account)
            wait([other], timeout=0.5)  # it waits for this to commit
        assert other.result() == 409


@pytest.mark.parametrize("which", ["phone", "email"])
def test_a_reset_code_sent_to_what_the_account_no_longer_has_opens_nothing(
    client: FlaskClient, which: str
) -> None:
    me = register(client, email="old@example.lk")
    named = {"phone": OLD} if which == "phone" else {"email": "old@example.lk"}
    client.post("/api/auth/password/forgot", json=named)
    code = told("user.password.reset.requested")["code"]
    if which == "phone":
        ask(client, me)
        give(client, me, code_sent())
    else:
        client.patch("/api/auth/me", json={"email": "new@example.lk"}, headers=me.headers)
    body = named | {"code": code, "new_password": "taken over by me"}
    assert client.post("/api/auth/password/reset", json=body).json["code"] == "invalid_code"
    assert login(client, PASSWORD, NEW if which == "phone" else NIMALI["phone"]).status_code == 200
