"""Dunning: nobody is cut off without notice, and who has paid is let in again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from billing import worker
from billing.config import DunningRules
from billing.models import Invoice
from billing.use_cases import dunning
from common import clock, contracts, ids
from common.db import db
from tests.support.billing import (
    ADMIN,
    account_of,
    bill,
    days_ago,
    dun,
    invoice_of,
    open_account,
    pay,
    refund,
    rupees,
)
from tests.support.services import bearer, emitted, make_app


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(datetime(2026, 11, 21, 6, tzinfo=UTC)):
        yield


def after(days: int) -> None:
    clock.move(timedelta(days=days))


def status(client: FlaskClient, user_id: str) -> str:
    found: str = account_of(client, user_id)["status"]
    return found


def test_an_invoice_is_overdue_on_the_day_after_it_was_due_and_not_before(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, due_on=days_ago(0))
    assert dun(client)["invoices_overdue"] == 0
    after(1)
    run = dun(client)
    assert (run["state"], run["invoices_overdue"], run["soft_barred"]) == ("completed", 1, 0)
    assert invoice_of(client, user_id, invoice["id"])["state"] == "overdue"
    dun(client)
    (event,) = emitted("invoice.overdue")
    assert contracts.violation(event.type, event.data) is None
    assert event.data["amount_due"] == rupees(120_000)
    assert event.data["bar_from"] == "2026-12-05"


def test_the_customer_is_reminded_once_some_days_before_the_bill_is_due(client: FlaskClient) -> None:
    user_id = open_account()
    unpaid, paid = (bill(client, user_id, due_on="2026-11-30") for _ in range(2))
    pay(user_id, paid["id"], 120_000)
    told = {}
    for day in range(21, 31):
        told[day] = dun(client)["reminders"]
        after(1)
    assert [day for day, reminders in told.items() if reminders] == [27]  # three days before
    (event,) = emitted("invoice.reminder")
    assert contracts.violation(event.type, event.data) is None
    assert (event.data["invoice_id"], event.data["amount_due"]) == (unpaid["id"], rupees(120_000))


def test_a_bill_due_at_once_is_reminded_of_on_the_next_day_and_a_late_one_not_at_all(
    client: FlaskClient,
) -> None:
    """The day's run may come after the issue; and after days without a run a reminder would come too late."""
    user_id = open_account()
    soon = bill(client, user_id, due_on="2026-11-22")
    assert dun(client)["reminders"] == 0
    after(1)
    assert dun(client)["reminders"] == 1
    bill(client, user_id, due_on="2026-11-27")
    pay(user_id, soon["id"], 120_000)
    after(6)
    run = dun(client)
    assert (run["reminders"], run["invoices_overdue"]) == (0, 1)


def test_without_days_of_reminder_nobody_is_reminded(database_url: str, tmp_path: Path) -> None:
    app = make_app("billing", database_url, tmp_path, dunning_reminder_days=0)
    with app.app_context():
        bill(app.test_client(), open_account(), due_on="2026-11-22")
        after(1)
        assert dun(app.test_client())["reminders"] == 0
        db.engine.dispose()


def test_the_longest_overdue_bill_decides_when_the_service_is_barred(client: FlaskClient) -> None:
    user_id = open_account()
    bill(client, user_id, due_on="2026-11-20")
    bill(client, user_id, due_on="2026-11-26")
    statuses = {}
    for day in range(31):
        dun(client)
        statuses[day] = status(client, user_id)
        after(1)
    assert (statuses[12], statuses[13]) == ("active", "soft_barred")
    assert (statuses[28], statuses[29]) == ("soft_barred", "hard_barred")
    assert dun(client)["accounts"] == 0  # there is no further bar


def test_from_notice_to_soft_bar_to_hard_bar_to_restoration(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, due_on="2026-11-20")
    states = {}
    for day in range(30):
        dun(client)
        states[day] = status(client, user_id)
        after(1)
    assert states[12] == "active"
    assert states[13] == "soft_barred"  # 14 days after the due date
    assert states[28] == "soft_barred"
    assert states[29] == "hard_barred"
    assert [event.data["level"] for event in emitted("account.barred")] == ["soft", "hard"]
    pay(user_id, invoice["id"], 120_000)
    assert status(client, user_id) == "active"
    assert len(emitted("account.restored")) == 1
    for event in (*emitted("account.barred"), *emitted("account.restored")):
        assert contracts.violation(event.type, event.data) is None


def test_nobody_is_barred_before_the_notice_is_seven_days_old_however_late_the_bill(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    bill(client, user_id, due_on=days_ago(300))
    days_to_bar = days_to_hard_bar = None
    for day in range(16):
        dun(client)
        dun(client)
        if days_to_bar is None and status(client, user_id) == "soft_barred":
            days_to_bar = day
        if days_to_hard_bar is None and status(client, user_id) == "hard_barred":
            days_to_hard_bar = day
        after(1)
    assert (days_to_bar, days_to_hard_bar) == (7, 14)
    assert emitted("invoice.overdue")[0].data["bar_from"] == "2026-11-28"


def test_a_notice_counts_from_the_day_it_is_given_not_from_that_of_a_run_left_in_the_middle(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.routes.admin.ANSWER_WITHIN_S", 0.0)
    user_id = open_account()
    bill(client, user_id, due_on=days_ago(20))
    assert dun(client, finish=False)["state"] == "running"
    after(10)
    while worker.dun():
        pass
    (notice,) = emitted("invoice.overdue")
    assert (notice.data["bar_from"], status(client, user_id)) == ("2026-12-08", "active")
    after(6)
    worker.dun()
    assert status(client, user_id) == "active"
    after(1)
    worker.dun()
    assert status(client, user_id) == "soft_barred"


def test_an_account_that_cannot_be_dunned_does_not_keep_the_others_waiting(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [open_account() for _ in range(3)]
    bills = [bill(client, user_id, due_on=days_ago(1)) for user_id in users]
    give_notice = dunning.give_notice

    def fail_for_the_first(session: Session, invoice: Invoice, rules: DunningRules) -> None:
        if invoice.id == bills[0]["id"]:
            raise KeyError("a bug")
        give_notice(session, invoice, rules)

    monkeypatch.setattr(dunning, "give_notice", fail_for_the_first)
    run = dun(client)
    assert (run["state"], run["accounts"], run["failed"], run["invoices_overdue"]) == ("completed", 3, 1, 2)
    assert [event.subject for event in emitted("invoice.overdue")] == users[1:]
    assert invoice_of(client, users[0], bills[0]["id"])["state"] == "issued"
    monkeypatch.undo()
    again = dun(client)
    assert (again["failed"], again["invoices_overdue"]) == (0, 1)


def test_a_bar_stays_while_anything_overdue_is_unpaid(client: FlaskClient) -> None:
    user_id = open_account()
    first, second = (bill(client, user_id, due_on=days_ago(20)) for _ in range(2))
    dun(client)
    after(7)
    dun(client)
    assert status(client, user_id) == "soft_barred"
    pay(user_id, first["id"], 120_000)
    pay(user_id, second["id"], 119_999)
    assert status(client, user_id) == "soft_barred"
    assert invoice_of(client, user_id, second["id"])["state"] == "overdue"
    pay(user_id, second["id"], 1)
    assert status(client, user_id) == "active"
    assert len(emitted("account.restored")) == 1


def test_voiding_the_overdue_invoice_lifts_the_bar(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, due_on=days_ago(20))
    dun(client)
    after(7)
    dun(client)
    client.post(f"/api/billing/admin/invoices/{invoice['id']}/void", headers=bearer(ADMIN, "admin"))
    assert status(client, user_id) == "active"


def test_who_has_enough_in_credit_is_not_barred(client: FlaskClient) -> None:
    user_id = open_account()
    late = bill(client, user_id, 1_000, due_on=days_ago(20))
    other = bill(client, user_id, 1_000)
    pay(user_id, other["id"], 1_000)
    pay(user_id, other["id"], 1_000)
    dun(client)
    after(10)
    dun(client)
    assert invoice_of(client, user_id, late["id"])["state"] == "overdue"
    assert status(client, user_id) == "active"


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        ({"dunning_soft_bar_days": 2, "dunning_hard_bar_days": 3, "dunning_notice_days": 1}, 13),
        ({"dunning_notice_days": 20}, 20),
    ],
    ids=["stricter", "milder"],
)
def test_new_rules_bar_nobody_before_the_day_that_the_notice_named_nor_before_they_would_themselves(
    client: FlaskClient, database_url: str, tmp_path: Path, rules: dict, days: int
) -> None:
    user_id = open_account()
    bill(client, user_id, due_on=days_ago(1))
    dun(client)
    assert emitted("invoice.overdue")[0].data["bar_from"] == "2026-12-04"  # in thirteen days
    changed = make_app("billing", database_url, tmp_path, **rules)
    with changed.app_context():
        for by, expected in ((days - 1, "active"), (1, "soft_barred")):
            after(by)
            dun(changed.test_client())
            assert status(changed.test_client(), user_id) == expected
        db.engine.dispose()


def test_credit_that_pays_another_bill_bars_nobody_without_a_new_notice_of_the_overdue_one(
    client: FlaskClient,
) -> None:
    user_id = open_account()
    late = bill(client, user_id, 1_000, due_on=days_ago(20))
    other = bill(client, user_id, 1_000)
    for _ in range(2):
        pay(user_id, other["id"], 1_000)
    for _ in range(2):
        dun(client)
        after(10)
    assert bill(client, user_id, 1_000)["state"] == "paid"
    dun(client)
    assert status(client, user_id) == "active"
    told = [(event.data["invoice_id"], event.data["bar_from"]) for event in emitted("invoice.overdue")]
    assert told == [(late["id"], "2026-11-28"), (late["id"], "2026-12-18")]
    after(6)
    dun(client)
    assert status(client, user_id) == "active"
    after(1)
    dun(client)
    assert status(client, user_id) == "soft_barred"


def test_after_a_refund_the_customer_gets_a_new_notice_before_a_new_bar(client: FlaskClient) -> None:
    user_id = open_account()
    invoice = bill(client, user_id, due_on=days_ago(20))
    dun(client)
    after(7)
    dun(client)
    payment_id = pay(user_id, invoice["id"], 120_000)
    refund(user_id, invoice["id"], payment_id, 120_000)
    dun(client)
    assert (status(client, user_id), len(emitted("invoice.overdue"))) == ("active", 2)
    after(6)
    dun(client)
    assert status(client, user_id) == "active"
    after(1)
    dun(client)
    assert status(client, user_id) == "soft_barred"


def test_the_worker_duns_once_a_day_and_in_small_steps(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dunning, "BATCH", 2)
    for _ in range(5):
        bill(client, open_account(), due_on=days_ago(1))
    assert [worker.dun() for _ in range(4)] == [True, True, False, False]
    assert len(emitted("invoice.overdue")) == 5
    late = bill(client, open_account(), due_on=days_ago(1))
    assert worker.dun() is False
    after(1)
    assert worker.dun() is False
    assert late["id"] in [event.data["invoice_id"] for event in emitted("invoice.overdue")]


def test_a_run_too_long_for_an_answer_is_finished_by_the_worker(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dunning, "BATCH", 2)
    monkeypatch.setattr("billing.routes.admin.ANSWER_WITHIN_S", 0.0)
    for _ in range(3):
        bill(client, open_account(), due_on=days_ago(1))
    run = dun(client, finish=False)
    assert run["state"] == "running"
    while worker.dun():
        pass
    done = client.get(f"/api/billing/admin/dunning-runs/{run['id']}", headers=bearer(ADMIN, "admin")).json
    assert (done["state"], done["invoices_overdue"], done["accounts"]) == ("completed", 3, 3)


def test_only_admins_dun(client: FlaskClient) -> None:
    path = "/api/billing/admin/dunning-runs"
    assert client.post(path, headers=bearer(None, "agent")).status_code == 403
    unknown = client.get(f"{path}/{ids.new_id()}", headers=bearer(None, "admin"))
    assert unknown.status_code == 404


def test_the_same_key_gives_the_same_run(client: FlaskClient, app: Flask) -> None:
    first, again = (
        client.post("/api/billing/admin/dunning-runs", headers=bearer(ADMIN, "admin", key="k")) for _ in "ab"
    )
    assert first.data == again.data
