"""Billing runs: what is due is billed once, by its days, whoever is killed and however many help."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from billing import worker
from billing.handlers import HANDLERS
from billing.models import Account, UsageTotal
from billing.use_cases import billing_runs, billing_slices
from common import clock
from common.db import db, transaction
from tests.support.billing import (
    a_record,
    account_of,
    admin,
    invoices_of,
    offer_plan,
    open_account,
    pay,
    run_billing,
    rupees,
    subscribe,
    trial_balance,
    use,
)
from tests.support.services import an_event, bearer, deliver, emitted, make_app

START = datetime(2026, 11, 10, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(START):
        yield


def until(year: int, month: int, day: int) -> None:
    clock.move(datetime(year, month, day, 6, tzinfo=UTC) - clock.now())


def lines(invoice: dict) -> list[tuple[str, int]]:
    return [(line["description"], line["amount"]["amount_minor"]) for line in invoice["lines"]]


def test_a_month_begun_in_the_middle_is_billed_by_its_days_and_the_next_one_whole(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client))
    until(2026, 12, 1)
    run = run_billing(client, "2026-11")
    assert (run["state"], run["invoices"], run["total"]) == ("completed", 1, rupees(210_000))
    until(2027, 1, 1)
    run_billing(client, "2026-12")
    november, december = invoices_of(client, user_id)
    assert lines(november) == [("Mobile-100 · 2026-11 · 21/30", 210_000)]  # 10 to 30 November
    assert lines(december) == [("Mobile-100 · 2026-12", 300_000)]
    assert (november["period"], november["state"], november["due_on"]) == ("2026-11", "issued", "2026-12-22")
    assert [event.data["invoice_id"] for event in emitted("invoice.issued")] == [
        november["id"],
        december["id"],
    ]


def test_a_share_of_a_fee_is_rounded_to_the_nearest_cent_half_up(client: FlaskClient) -> None:
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client, price=5))
    run_billing(client, "2026-11")
    assert lines(invoices_of(client, user_id)[0]) == [("Mobile-100 · 2026-11 · 21/30", 4)]  # 3.5


def test_running_a_month_again_bills_only_who_has_come_since(client: FlaskClient) -> None:
    plan, first = offer_plan(client), open_account()
    subscribe(client, first, plan)
    runs = [run_billing(client, "2026-11") for _ in range(2)]
    assert runs[0]["id"] == runs[1]["id"]
    second = open_account()
    subscribe(client, second, plan)
    assert run_billing(client, "2026-11")["invoices"] == 2
    assert [len(invoices_of(client, user_id)) for user_id in (first, second)] == [1, 1]


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


def test_a_run_over_accounts_of_two_currencies_tells_the_sum_of_each(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_runs, "SLICE", 2)
    apps = [make_app("billing", database_url, tmp_path, currency=currency) for currency in ("LKR", "USD")]
    kinds = [*zip(apps, ("LKR", "USD"), (300_000, 900), strict=True)]
    for n, (app, currency, price) in enumerate(kinds * 2):
        with app.app_context():
            client = app.test_client()
            subscribe(client, open_account(), offer_plan(client, f"plan-{n}", price, currency))
    for app in apps:
        with app.app_context():
            run = run_billing(app.test_client(), "2026-11")
            db.engine.dispose()
    assert (run["state"], run["accounts"], run["invoices"]) == ("completed", 4, 4)
    assert run["totals"] == [rupees(1_260, "USD"), rupees(420_000)]
    assert run["total"] == rupees(1_260, "USD")


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


def test_late_usage_comes_onto_the_next_invoice_once(client: FlaskClient) -> None:
    rate = {"kind": "data_mb", "name": "Data", "tiers": [{"price_minor": 10}]}
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client, price=0, rates=[rate]))
    use(client, a_record(user_id, 5))
    late = a_record(user_id, 2, occurred_at=clock.rfc3339(clock.now() + timedelta(hours=1)))
    until(2026, 12, 1)
    use(client, a_record(user_id, 3))
    run_billing(client, "2026-11")
    assert use(client, late, late)["accepted"] == 1
    assert run_billing(client, "2026-11")["invoices"] == 1
    until(2027, 1, 1)
    run_billing(client, "2026-12")
    run_billing(client, "2027-01")
    assert [lines(invoice) for invoice in invoices_of(client, user_id)] == [
        [("Data · 2026-11 · 5 MB", 50)],
        [("Data · 2026-11 · 7 MB", 20), ("Data · 2026-12 · 3 MB", 30)],
    ]


def test_a_voided_month_is_billed_anew_and_nothing_of_it_comes_back_as_credit(client: FlaskClient) -> None:
    rate = {"kind": "data_mb", "name": "Data", "tiers": [{"price_minor": 10}]}
    user_id = open_account()
    held = subscribe(client, user_id, offer_plan(client, rates=[rate]))
    use(client, a_record(user_id, 5))
    run_billing(client, "2026-11")
    (wrong,) = invoices_of(client, user_id)
    client.post(f"/api/billing/admin/invoices/{wrong['id']}/void", headers=admin())
    until(2026, 11, 21)
    path = f"/api/billing/subscriptions/{held['id']}/cancel"
    client.post(path, json={"when": "now"}, headers=bearer(user_id))
    assert run_billing(client, "2026-11")["invoices"] == 2
    _, right = invoices_of(client, user_id)
    assert lines(right) == [("Mobile-100 · 2026-11 · 11/30", 110_000), ("Data · 2026-11 · 5 MB", 50)]
    run_billing(client, "2026-11")
    until(2026, 12, 2)
    assert run_billing(client, "2026-12")["invoices"] == 0
    assert account_of(client, user_id)["balance_due"] == rupees(110_050)
    assert account_of(client, user_id)["credit"] == rupees(0)


def test_a_month_that_has_not_begun_is_refused(client: FlaskClient) -> None:
    answer = client.post("/api/billing/admin/billing-runs", json={"period": "2026-12"}, headers=admin())
    assert (answer.status_code, answer.json["code"]) == (422, "period_not_begun")
    assert (
        client.post(
            "/api/billing/admin/billing-runs", json={"period": "2026-13"}, headers=admin()
        ).status_code
        == 422
    )


def test_killed_at_any_point_and_helped_by_others_everybody_gets_one_invoice_and_numbers_have_no_gap(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_runs, "SLICE", 3)
    monkeypatch.setattr(billing_runs, "PLANNED_AT_ONCE", 2)
    monkeypatch.setattr("billing.routes.admin.ANSWER_WITHIN_S", 0.0)
    plan, users = offer_plan(client), [open_account() for _ in range(14)]
    for user_id in users:
        subscribe(client, user_id, plan)
    run = run_billing(client, "2026-11", finish=False)
    assert run["state"] == "running"
    issue = billing_slices.issue_drafts
    deaths = iter([True, False, True, False, True])

    def dies(session, drafts) -> None:
        issue(session, drafts)
        if next(deaths, False):
            raise KeyboardInterrupt

    monkeypatch.setattr(billing_slices, "issue_drafts", dies)

    def help_out(_: int) -> None:
        with app.app_context():
            for _ in range(60):
                try:
                    if not worker.bill():
                        return
                except KeyboardInterrupt:
                    continue

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(help_out, range(3)))
    while worker.bill():
        pass
    done = client.get(f"/api/billing/admin/billing-runs/{run['id']}", headers=admin()).json
    assert (done["state"], done["accounts"], done["invoices"]) == ("completed", 14, 14)
    made = [invoices_of(client, user_id) for user_id in users]
    assert [len(each) for each in made] == [1] * 14
    assert sorted(each["number"] for (each,) in made) == [f"INV-2026-{n:06d}" for n in range(1, 15)]
    assert len(emitted("invoice.issued")) == 14
    assert trial_balance(client)["balanced"]


def mistake(user_id: str, what: str, *, mended: bool = False) -> None:
    """Something that keeps an account from being billed: our own code, or the database, cannot go on."""
    with transaction() as session:
        if what == "a kind without a rate":
            session.execute(update(UsageTotal).values(kind="data_mb" if mended else "unheard_of"))
        else:
            owed = 0 if mended else 2**63 - 1
            session.execute(update(Account).where(Account.user_id == user_id).values(receivable_minor=owed))


@pytest.mark.parametrize("what", ["a kind without a rate", "a sum that no column holds"])
def test_an_account_that_cannot_be_billed_is_shown_and_tried_again_and_the_others_get_their_invoices(
    client: FlaskClient, what: str
) -> None:
    rate = {"kind": "data_mb", "name": "Data", "tiers": [{"price_minor": 10}]}
    plan, users = offer_plan(client, rates=[rate]), [open_account() for _ in range(5)]
    for user_id in users:
        subscribe(client, user_id, plan)
    wrong = users[2]
    use(client, a_record(wrong, 5))
    mistake(wrong, what)
    run = run_billing(client, "2026-11")
    assert (run["state"], run["accounts"], run["failed"], run["invoices"]) == ("completed", 4, 1, 4)
    assert [len(invoices_of(client, user_id)) for user_id in users] == [1, 1, 0, 1, 1]
    path = f"/api/billing/admin/billing-runs/{run['id']}"
    (failure,) = client.get(f"{path}/failures", headers=admin()).json["items"]
    assert (failure["user_id"], failure["failures"]) == (wrong, 1)
    assert not worker.bill()
    clock.move(timedelta(minutes=1))
    assert worker.bill()
    (again,) = client.get(f"{path}/failures", headers=admin()).json["items"]
    assert (again["id"], again["failures"], again["retry_at"]) == (failure["id"], 2, "2026-11-10T06:03:00Z")
    mistake(wrong, what, mended=True)
    assert not worker.bill()
    clock.move(timedelta(minutes=2))
    assert worker.bill()
    done = client.get(path, headers=admin()).json
    assert (done["accounts"], done["failed"], done["invoices"]) == (5, 0, 5)
    assert client.get(f"{path}/failures", headers=admin()).json["items"] == []
    numbers = [invoice["number"] for user_id in users for invoice in invoices_of(client, user_id)]
    assert sorted(numbers) == [f"INV-2026-{n:06d}" for n in range(1, 6)]
    assert trial_balance(client)["balanced"]


def test_a_month_asked_for_again_tries_at_once_whom_it_could_not_bill(client: FlaskClient) -> None:
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client))
    mistake(user_id, "a sum that no column holds")
    for _ in range(2):
        assert run_billing(client, "2026-11")["failed"] == 1
    mistake(user_id, "a sum that no column holds", mended=True)
    done = run_billing(client, "2026-11")
    assert (done["failed"], done["accounts"], done["invoices"]) == (0, 1, 1)


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
