"""Months with a moved clock: billed, reminded, told, barred, let in again; the books always balance."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from billing import worker
from common import clock
from tests.support.billing import (
    a_record,
    account_of,
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
from tests.support.services import emitted

DAYS = 130
RATE = {"kind": "voice_minutes", "name": "Calls", "included": 10, "tiers": [{"price_minor": 200}]}


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(datetime(2026, 1, 1, 2, tzinfo=UTC)):
        yield


def test_four_months_of_a_good_payer_a_late_one_and_one_who_stops(client: FlaskClient) -> None:
    plan = offer_plan(client, price=100_000, rates=[RATE])
    good, late, stopped = (open_account() for _ in range(3))
    for user_id in (good, late, stopped):
        subscribe(client, user_id, plan)
    customers = (good, late, stopped)
    to_pay: dict[str, list[tuple[date, str]]] = {}
    for _ in range(DAYS):
        today = clock.today()
        if today.day == 1 and today.month > 1:
            run_billing(client, f"2026-{today.month - 1:02d}")
            for user_id, patience in ((good, 0), (late, 40)):
                bill = invoices_of(client, user_id)[-1]
                on = date.fromisoformat(bill["due_on"]) + timedelta(days=patience)
                to_pay.setdefault(user_id, []).append((on, bill["id"]))
        if today.day == 15:
            use(client, *(a_record(user_id, 15, kind="voice_minutes") for user_id in customers))
        while worker.dun():
            pass
        for user_id, bills_of in to_pay.items():
            for on, invoice_id in bills_of:
                if on == today:
                    pay(user_id, invoice_id, 101_000)
        clock.move(timedelta(days=1))
    barred = {
        user_id: [
            (e.time.date().isoformat(), e.data["level"])
            for e in emitted("account.barred")
            if e.subject == user_id
        ]
        for user_id in customers
    }
    # January's bill is due on 22 February: 14 and 30 days later the bars, 40 days later it is paid, but not February's.
    assert barred[good] == []
    assert barred[late][:2] == barred[stopped] == [("2026-03-08", "soft"), ("2026-03-24", "hard")]
    assert account_of(client, stopped)["status"] == "hard_barred"
    bills = {user_id: [i["total"] for i in invoices_of(client, user_id)] for user_id in customers}
    assert bills[good] == bills[late] == bills[stopped] == [rupees(101_000)] * 4
    notices = {(e.subject, e.data["invoice_id"]): e.time for e in emitted("invoice.overdue")}
    reminders = [e.subject for e in emitted("invoice.reminder")]
    assert reminders.count(stopped) == 3
    assert not [key for key in notices if key[0] == good]
    for event in emitted("account.barred"):
        told = [at for (user_id, _), at in notices.items() if user_id == event.subject]
        assert event.time - min(told) >= timedelta(days=7)
    assert account_of(client, stopped)["balance_due"] == rupees(404_000)
    assert account_of(client, good)["balance_due"] == rupees(101_000)  # April's bill, not due yet
    for invoice in invoices_of(client, stopped):
        pay(stopped, invoice["id"], 101_000)
    assert account_of(client, stopped)["status"] == "active"
    assert trial_balance(client)["balanced"]
