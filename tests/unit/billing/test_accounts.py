"""Accounts: made from users, numbered without gaps, following the profile."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from billing.handlers import HANDLERS
from billing.models import Account
from common import clock, ids
from common.db import reading, transaction
from common.messaging import NotYet
from common.money import MAX_MINOR
from tests.support.billing import account_of, open_account, rupees
from tests.support.services import an_event, bearer, deliver

PROFILE = {"changed": ["name"], "phone": "+94771234567", "email": None, "language": "si"}


def test_there_is_no_account_before_the_user_is_known_and_one_after(client: FlaskClient) -> None:
    user_id = ids.new_id()
    before = client.get("/api/billing/account", headers=bearer(user_id))
    assert (before.status_code, before.json["code"]) == (404, "not_found")
    open_account(user_id)
    account = account_of(client, user_id)
    assert account["number"] == "STL-0000000001"
    assert (account["kind"], account["status"]) == ("postpaid", "active")
    assert account["balance_due"] == account["credit"] == {"amount_minor": 0, "currency": "LKR"}


def test_a_user_has_one_account_however_often_the_event_comes(client: FlaskClient) -> None:
    user_id = open_account()
    open_account(user_id)
    open_account()
    with reading() as session:
        assert sorted(session.scalars(select(Account.number))) == ["STL-0000000001", "STL-0000000002"]


def test_accounts_opened_at_once_are_numbered_without_gaps(app: Flask) -> None:
    def one(_: int) -> None:
        with app.app_context():
            open_account()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))
    with reading() as session:
        numbers = sorted(session.scalars(select(Account.number)))
    assert numbers == [f"STL-{n:010d}" for n in range(1, 25)]


def test_an_older_profile_never_replaces_a_newer_one(client: FlaskClient) -> None:
    user_id = open_account()
    later, earlier = clock.now() + timedelta(seconds=2), clock.now() + timedelta(seconds=1)
    for name, at in (("New Name", later), ("Old Name", earlier)):
        data = PROFILE | {"user_id": user_id, "name": name}
        deliver(HANDLERS, an_event("user.updated", user_id, data, time=at))
    with reading() as session:
        account = session.scalars(select(Account)).one()
    assert (account.name, account.language) == ("New Name", "si")


@pytest.mark.parametrize("event_type", ["user.updated", "user.deactivated"])
def test_what_comes_before_the_user_is_known_is_put_off(client: FlaskClient, event_type: str) -> None:
    user_id = ids.new_id()
    data = PROFILE | {"user_id": user_id, "name": "Nimali", "reason": "closed"}
    with pytest.raises(NotYet):
        deliver(HANDLERS, an_event(event_type, user_id, data))


def test_tokens_of_a_deactivated_user_are_refused_and_the_account_stays(client: FlaskClient) -> None:
    user_id = open_account()
    headers = bearer(user_id)
    data = {"user_id": user_id, "reason": "closed"}
    deliver(HANDLERS, an_event("user.deactivated", user_id, data, time=clock.now() + timedelta(seconds=1)))
    assert client.get("/api/billing/account", headers=headers).status_code == 401
    with reading() as session:
        assert session.scalars(select(Account)).one().deactivated_at is not None


def test_who_was_gone_and_is_back_has_an_open_account(client: FlaskClient) -> None:
    user_id = open_account()
    profile = PROFILE | {"user_id": user_id, "name": "Nimali"}
    news: list[tuple[str, dict[str, Any]]] = [
        ("user.deactivated", {"user_id": user_id, "reason": "closed"}),
        ("user.updated", profile | {"changed": ["roles"]}),
        ("user.updated", profile | {"changed": ["active"]}),
    ]
    gone = []
    for seconds, (event_type, data) in enumerate(news, start=1):
        deliver(HANDLERS, an_event(event_type, user_id, data, time=clock.now() + timedelta(seconds=seconds)))
        with reading() as session:
            gone.append(session.scalars(select(Account)).one().deactivated_at is not None)
    assert gone == [True, True, False]


def test_an_account_tells_what_is_owed_and_in_credit_however_much_it_is(client: FlaskClient) -> None:
    """Single amounts are bounded, but nobody bounds how many bills stay unpaid."""
    user_id = open_account()
    with transaction() as session:
        account = session.scalars(select(Account)).one()
        account.receivable_minor, account.credit_minor = 3 * MAX_MINOR, 2 * MAX_MINOR
    told = account_of(client, user_id)
    assert (told["balance_due"], told["credit"]) == (rupees(3 * MAX_MINOR), rupees(2 * MAX_MINOR))


def test_customers_see_their_own_account_and_agents_anyones(client: FlaskClient) -> None:
    user_id, path = open_account(), "/api/billing/account"
    assert client.get(path, query_string={"user_id": user_id}, headers=bearer()).status_code == 404
    seen = client.get(path, query_string={"user_id": user_id}, headers=bearer(None, "agent"))
    assert seen.json == account_of(client, user_id)
