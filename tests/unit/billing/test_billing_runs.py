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
from billing.models import Account, UsageTotal
from billing.use_cases import billing_runs, billing_slices
from common import clock
from common.db import db, transaction
from tests.support.billing import (
    a_record,
    account_of,
    admin,
    invoices_of,
    lines,
    offer_plan,
    open_account,
    run_billing,
    rupees,
    subscribe,
    trial_balance,
    until,
    use,
)
from tests.support.services import bearer, emitted, make_app

START = datetime(2026, 11, 10, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(START):
        yield


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
