"""Months with a moved clock: billed, reminded, told, barred, let in again; the books always balance."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

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
    barred: dict[str, list[tuple[str, str]]] = {good: [], late: [], stopped: []}
    for _ in range(DAYS):
        today = clock.today()
        if today.day == 1 and today.month > 1:
            run_billing(client, f"2026-{today.month - 1:02d}")
        if today.day == 15:
            use(client, *(a_record(user_id, 15, kind="voice_minutes") for user_id in barred))
        while worker.dun():
            pass
        for user_id, patience in ((good, 0), (late, 40)):
            for invoice in invoices_of(client, user_id):
                due_on = datetime.fromisoformat(invoice["due_on"]).date()
                if invoice["amount_due"]["amount_minor"] and today >= due_on + timedelta(days=patience):
                    pay(user_id, invoice["id"], invoice["amount_due"]["amount_minor"])
        for user_id, seen in barred.items():
            status = account_of(client, user_id)["status"]
            if not seen or seen[-1][1] != status:
                seen.append((today.isoformat(), status))
        clock.move(timedelta(days=1))
    assert [status for _, status in barred[good]] == ["active"]
    # January's bill is due on 22 February: 14 and 30 days later the bars, 40 days later it is paid, but not February's.
    assert barred[late][:3] == [
        ("2026-01-01", "active"),
        ("2026-03-08", "soft_barred"),
        ("2026-03-24", "hard_barred"),
    ]
    assert barred[stopped][:3] == barred[late][:3]
    assert barred[stopped][-1][1] == "hard_barred"
    bills = {user_id: [i["total"] for i in invoices_of(client, user_id)] for user_id in barred}
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
