"""Subscriptions: what a change or an end costs and gives back, and who may have one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.handlers import HANDLERS
from common import clock
from common.db import db
from tests.support.billing import (
    account_of,
    admin,
    invoices_of,
    lines,
    offer_plan,
    open_account,
    pay,
    run_billing,
    rupees,
    subscribe,
    trial_balance,
    until,
)
from tests.support.services import an_event, bearer, deliver, make_app

START = datetime(2026, 11, 10, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(START):
        yield


def test_a_change_bills_both_plans_by_their_days(client: FlaskClient) -> None:
    user_id, small, big = open_account(), offer_plan(client), offer_plan(client, "mobile-500", 600_000)
    held = subscribe(client, user_id, small)
    until(2026, 11, 20)
    path = f"/api/billing/subscriptions/{held['id']}"
    changed = client.post(f"{path}/change", json={"plan_id": big["id"]}, headers=bearer(user_id)).json
    assert changed["plan"]["code"] == "mobile-500"
    run_billing(client, "2026-11")
    (invoice,) = invoices_of(client, user_id)
    assert lines(invoice) == [
        ("Mobile-100 · 2026-11 · 10/30", 100_000),  # 10 to 19 November
        ("Mobile-500 · 2026-11 · 11/30", 220_000),
    ]


def test_a_change_after_the_bill_comes_onto_the_next_one(client: FlaskClient) -> None:
    user_id, small, big = open_account(), offer_plan(client), offer_plan(client, "mobile-500", 600_000)
    held = subscribe(client, user_id, small)
    run_billing(client, "2026-11")
    until(2026, 11, 21)
    client.post(
        f"/api/billing/subscriptions/{held['id']}/change",
        json={"plan_id": big["id"]},
        headers=bearer(user_id),
    )
    until(2026, 12, 2)
    run_billing(client, "2026-12")
    november, december = invoices_of(client, user_id)
    assert lines(december) == [("Mobile-500 · 2026-11 · 10/30", 200_000), ("Mobile-500 · 2026-12", 600_000)]
    assert november["amount_credited"] == rupees(100_000)  # ten days of Mobile-100


def test_a_change_with_the_next_month_waits_for_it(client: FlaskClient) -> None:
    user_id, small, big = open_account(), offer_plan(client), offer_plan(client, "mobile-500", 600_000)
    held = subscribe(client, user_id, small)
    body = {"plan_id": big["id"], "when": "period_end"}
    path = f"/api/billing/subscriptions/{held['id']}/change"
    changed = client.post(path, json=body, headers=bearer(user_id)).json
    assert (changed["plan"]["id"], changed["next_plan"]["id"]) == (small["id"], big["id"])
    until(2026, 12, 1)
    run_billing(client, "2026-12")
    (invoice,) = invoices_of(client, user_id)
    assert lines(invoice) == [("Mobile-100 · 2026-11 · 21/30", 210_000), ("Mobile-500 · 2026-12", 600_000)]


def test_a_change_to_come_is_replaced_by_another_and_called_off_by_the_plan_that_is_held(
    client: FlaskClient,
) -> None:
    user_id, held = open_account(), offer_plan(client)
    big, small = offer_plan(client, "mobile-500", 600_000), offer_plan(client, "mobile-10", 30_000)
    path = f"/api/billing/subscriptions/{subscribe(client, user_id, held)['id']}/change"

    def wish(plan: dict) -> tuple[int, dict]:
        body = {"plan_id": plan["id"], "when": "period_end"}
        answer = client.post(path, json=body, headers=bearer(user_id))
        return answer.status_code, answer.json

    assert wish(held)[1]["code"] == "same_plan"
    wish(big)
    status, changed = wish(small)
    assert (status, changed["plan"]["id"], changed["next_plan"]["id"]) == (200, held["id"], small["id"])
    status, called_off = wish(held)
    assert (status, called_off["plan"]["id"], called_off["next_plan"]) == (200, held["id"], None)
    assert (wish(held)[0], wish(small)[0]) == (409, 200)
    until(2026, 12, 1)
    run_billing(client, "2026-12")
    (invoice,) = invoices_of(client, user_id)
    assert lines(invoice) == [("Mobile-100 · 2026-11 · 21/30", 210_000), ("Mobile-10 · 2026-12", 30_000)]


def test_cancelled_now_after_the_bill_gives_the_days_back_as_credit(client: FlaskClient) -> None:
    user_id = open_account()
    held = subscribe(client, user_id, offer_plan(client))
    run_billing(client, "2026-11")
    (invoice,) = invoices_of(client, user_id)
    pay(user_id, invoice["id"], 210_000)
    until(2026, 11, 21)
    path = f"/api/billing/subscriptions/{held['id']}/cancel"
    assert client.post(path, json={"when": "now"}, headers=bearer(user_id)).json["state"] == "cancelled"
    again = client.post(path, json={"when": "now"}, headers=bearer(user_id))
    assert (again.status_code, again.json["code"]) == (409, "subscription_ended")
    until(2026, 12, 1)
    assert run_billing(client, "2026-12")["invoices"] == 0
    assert account_of(client, user_id)["credit"] == rupees(100_000)  # 21 to 30 November
    until(2027, 1, 1)
    assert run_billing(client, "2027-01")["accounts"] == 0
    assert trial_balance(client)["balanced"]


TAX = {"code": "VAT", "name": "VAT", "rate_percent": "15"}


def test_what_comes_back_has_the_taxes_with_which_it_was_billed(database_url: str, tmp_path: Path) -> None:
    def app(rate: str) -> Flask:
        return make_app("billing", database_url, tmp_path, taxes=[TAX | {"rate_percent": rate}])

    with (before := app("15")).app_context():
        client, user_id = before.test_client(), open_account()
        held = subscribe(client, user_id, offer_plan(client, price=99_999))
        run_billing(client, "2026-11")
        (invoice,) = invoices_of(client, user_id)
        assert invoice["total"] == rupees(80_499)  # 21 of 30 days: 699.99, and 15 %
        db.engine.dispose()
    until(2026, 11, 21)
    with (after := app("18")).app_context():
        client = after.test_client()
        path = f"/api/billing/subscriptions/{held['id']}/cancel"
        client.post(path, json={"when": "now"}, headers=bearer(user_id))
        until(2026, 12, 1)
        run_billing(client, "2026-12")
        (note,) = client.get(
            f"/api/billing/invoices/{invoice['id']}/credit-notes", headers=bearer(user_id)
        ).json["items"]
        assert (note["net"], note["tax"]) == (rupees(33_333), rupees(5_000))  # ten days
        assert account_of(client, user_id)["balance_due"] == rupees(80_499 - 38_333)
        db.engine.dispose()


def test_what_was_waived_does_not_come_back_when_the_subscription_changes(client: FlaskClient) -> None:
    """So much of a month's bill that less is left of it than comes back: that is not taken off another month's."""
    user_id, small, big = open_account(), offer_plan(client), offer_plan(client, "mobile-500", 600_000)
    held = subscribe(client, user_id, small)
    run_billing(client, "2026-11")
    pay(user_id, invoices_of(client, user_id)[0]["id"], 210_000)
    until(2026, 12, 1)
    run_billing(client, "2026-12")
    path = f"/api/billing/admin/invoices/{invoices_of(client, user_id)[1]['id']}/credit-notes"
    client.post(path, json={"amount": rupees(250_000), "reason": "line was down"}, headers=admin())
    until(2026, 12, 21)
    path = f"/api/billing/subscriptions/{held['id']}/change"
    client.post(path, json={"plan_id": big["id"]}, headers=bearer(user_id))
    until(2027, 1, 2)
    run_billing(client, "2027-01")
    november, december, january = invoices_of(client, user_id)
    assert (november["amount_credited"], december["amount_credited"]) == (rupees(0), rupees(300_000))
    assert lines(january) == [("Mobile-500 · 2026-12 · 11/31", 212_903), ("Mobile-500 · 2027-01", 600_000)]
    assert account_of(client, user_id)["balance_due"] == january["amount_due"] == rupees(812_903)


def test_a_subscription_that_ends_on_the_day_of_its_beginning_costs_that_day(client: FlaskClient) -> None:
    user_id, small, big = open_account(), offer_plan(client), offer_plan(client, "mobile-500", 600_000)
    path = f"/api/billing/subscriptions/{subscribe(client, user_id, small)['id']}"
    clock.move(timedelta(hours=3))
    client.post(f"{path}/change", json={"plan_id": big["id"]}, headers=bearer(user_id))
    clock.move(timedelta(hours=3))
    client.post(f"{path}/cancel", json={"when": "now"}, headers=bearer(user_id))
    subscribe(client, user_id, small)
    run_billing(client, "2026-11")
    (invoice,) = invoices_of(client, user_id)
    assert lines(invoice) == [
        ("Mobile-500 · 2026-11 · 1/30", 20_000),
        ("Mobile-100 · 2026-11 · 21/30", 210_000),
    ]


def test_cancelled_with_the_month_is_billed_to_its_end_and_no_further(client: FlaskClient) -> None:
    user_id = open_account()
    held = subscribe(client, user_id, offer_plan(client))
    answer = client.post(
        f"/api/billing/subscriptions/{held['id']}/cancel", json={}, headers=bearer(user_id)
    ).json
    assert (answer["state"], answer["ends_at"]) == ("active", "2026-11-30T18:30:00Z")
    until(2027, 1, 5)
    run_billing(client, "2026-12")
    assert [lines(invoice) for invoice in invoices_of(client, user_id)] == [
        [("Mobile-100 · 2026-11 · 21/30", 210_000)]
    ]


def test_who_is_gone_is_billed_for_the_days_held_and_no_further(client: FlaskClient) -> None:
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client))
    until(2026, 11, 20)
    gone = an_event("user.deactivated", user_id, {"user_id": user_id, "reason": "closed"})
    for _ in range(2):
        deliver(HANDLERS, gone)
        clock.move(timedelta(days=1))
    until(2027, 1, 2)
    for period in ("2026-11", "2026-12", "2027-01"):
        run_billing(client, period)
    listed = client.get(
        "/api/billing/invoices", query_string={"user_id": user_id}, headers=bearer(None, "agent")
    ).json["items"]
    assert [lines(invoice) for invoice in listed] == [[("Mobile-100 · 2026-11 · 10/30", 100_000)]]


def test_the_late_word_of_an_earlier_departure_ends_nothing_that_was_begun_after_it(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client))
    gone = {"user_id": user_id, "reason": "closed"}
    for hours, state in ((-1, "active"), (1, "cancelled")):
        at = clock.now() + timedelta(hours=hours)
        deliver(HANDLERS, an_event("user.deactivated", user_id, gone, time=at))
        (held,) = client.get(
            "/api/billing/subscriptions", query_string={"user_id": user_id}, headers=bearer(None, "agent")
        ).json["items"]
        assert held["state"] == state


def test_one_active_subscription_of_a_category_and_none_on_prepaid_accounts(client: FlaskClient) -> None:
    user_id, plan, withdrawn = open_account(), offer_plan(client), offer_plan(client, "old", category="tv")
    client.post(f"/api/billing/admin/plans/{withdrawn['id']}/withdraw", headers=admin())
    assert [item["id"] for item in client.get("/api/billing/plans", headers=bearer()).json["items"]] == [
        plan["id"]
    ]
    subscribe(client, user_id, plan)
    foreign = offer_plan(client, "in-dollars", 900, "USD", category="tv")
    refused = ((plan, "already_subscribed"), (withdrawn, "plan_not_offered"), (foreign, "plan_not_offered"))
    for wanted, code in refused:
        answer = client.post(
            "/api/billing/subscriptions", json={"plan_id": wanted["id"]}, headers=bearer(user_id)
        )
        assert (answer.status_code, answer.json["code"]) == (409, code)
    path = "/api/billing/admin/accounts/"
    in_use = client.patch(path + user_id, json={"kind": "prepaid"}, headers=admin())
    assert (in_use.status_code, in_use.json["code"]) == (409, "account_in_use")
    other = open_account()
    assert client.patch(path + other, json={"kind": "prepaid"}, headers=admin()).json["kind"] == "prepaid"
    prepaid = client.post("/api/billing/subscriptions", json={"plan_id": plan["id"]}, headers=bearer(other))
    assert (prepaid.status_code, prepaid.json["code"]) == (409, "account_is_prepaid")


def test_anothers_subscription_is_unknown(client: FlaskClient) -> None:
    held = subscribe(client, open_account(), offer_plan(client))
    stranger, path = bearer(open_account()), f"/api/billing/subscriptions/{held['id']}"
    assert client.get(path, headers=stranger).status_code == 404
    assert client.post(f"{path}/cancel", json={}, headers=stranger).status_code == 404
    assert client.get("/api/billing/subscriptions", headers=stranger).json["items"] == []
