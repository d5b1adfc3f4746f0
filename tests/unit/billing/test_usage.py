"""Usage: every record counts once and costs what its plan says, in whatever order and however late it comes."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from billing.handlers import HANDLERS
from billing.models.tariffs import Rate
from billing.use_cases.accounts import lock_account_of
from common import clock, contracts, ids
from common.db import db, transaction
from tests.support.billing import (
    a_record,
    admin,
    offer_plan,
    open_account,
    run_billing,
    rupees,
    subscribe,
    use,
)
from tests.support.services import an_event, bearer, deliver, emitted, make_app

DATA = {
    "kind": "data_mb",
    "name": "Data",
    "included": 100,
    "tiers": [{"up_to": 50, "price_minor": 10}, {"price_minor": 4}],
}
CALLS = {
    "kind": "voice_s",
    "name": "Calls",
    "unit": 60,
    "per_record_minor": 5,
    "tiers": [{"price_minor": 100}],
}
ROAMING = {"kind": "data_mb", "zone": "zone_1", "name": "Data abroad", "tiers": [{"price_minor": 300}]}

CALLS_ABROAD = {
    "kind": "voice_minutes",
    "zone": "zone_1",
    "name": "Calls abroad",
    "tiers": [{"price_minor": 200}],
}


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    with clock.frozen(datetime(2026, 11, 21, 6, tzinfo=UTC)):
        yield


@pytest.fixture
def user_id(client: FlaskClient) -> str:
    made = open_account()
    rates = [DATA, CALLS, ROAMING, CALLS_ABROAD]
    subscribe(client, made, offer_plan(client, rates=rates, roaming_cap=rupees(1_000)))
    clock.move(timedelta(hours=1))
    return made


def usage(client: FlaskClient, user_id: str, **query: str) -> dict[str, Any]:
    return client.get("/api/billing/usage", query_string=query, headers=bearer(user_id)).get_json()


def charged(client: FlaskClient, user_id: str) -> dict[str, int]:
    items = usage(client, user_id)["items"]
    return {f"{item['kind']}@{item['zone']}": item["charged"]["amount_minor"] for item in items}


def test_flat_per_unit_tiered_and_included_are_charged_as_the_plan_says(
    client: FlaskClient, user_id: str
) -> None:
    use(client, a_record(user_id, 90), a_record(user_id, 80))  # 70 beyond: 50 × 10 + 20 × 4
    use(
        client, a_record(user_id, 61, kind="voice_s"), a_record(user_id, 1, kind="voice_s")
    )  # 2 and 1 minutes
    assert charged(client, user_id) == {"data_mb@home": 580, "voice_s@home": 310}
    (allowance,) = usage(client, user_id)["allowances"]
    assert (allowance["granted"], allowance["used"], allowance["percent"]) == (100, 100, 100)
    assert allowance["until"] == "2026-11-30T18:30:00Z"  # midnight in Colombo


def test_roaming_costs_its_own_rate_up_to_the_months_cap(client: FlaskClient, user_id: str) -> None:
    use(client, a_record(user_id, 150))  # at home: no part of the cap
    for _ in range(5):
        use(client, a_record(user_id, 1, zone="zone_1"))
    assert charged(client, user_id) == {"data_mb@home": 500, "data_mb@zone_1": 1_000}
    told = [(e.data["source"], e.data["percent"], e.data["used"]) for e in emitted("usage.threshold_reached")]
    assert told[1:] == [("roaming_cap", 50, 600), ("roaming_cap", 80, 900), ("roaming_cap", 100, 1_000)]


def test_a_record_counts_once_however_often_it_comes(client: FlaskClient, user_id: str) -> None:
    record = a_record(user_id, 120)
    first = use(client, record, record)
    again = use(client, record, a_record(user_id, 1))
    assert (first["accepted"], first["duplicates"]) == (1, 1)
    assert (again["accepted"], again["duplicates"]) == (1, 1)
    assert charged(client, user_id) == {"data_mb@home": 210}


def test_the_order_of_records_changes_nothing_of_what_they_cost_together(client: FlaskClient) -> None:
    plan = offer_plan(client, rates=[DATA])
    sums = set()
    for order in itertools.permutations([30, 90, 41]):
        user_id = open_account()
        subscribe(client, user_id, plan)
        for quantity in order:
            use(client, a_record(user_id, quantity))
        sums.add(charged(client, user_id)["data_mb@home"])
    assert sums == {544}


@given(st.lists(st.integers(1, 500), max_size=12))
def test_a_records_cost_is_never_negative_and_they_sum_up_to_the_months_charge(quantities: list[int]) -> None:
    for rate in (Rate.model_validate_json(orjson.dumps(each)) for each in (DATA, CALLS)):
        records = quantity = total = 0
        for each in quantities:
            cost = rate.charge(records + 1, quantity + rate.in_units(each)) - rate.charge(records, quantity)
            assert cost >= 0
            records, quantity, total = records + 1, quantity + rate.in_units(each), total + cost
        assert total == rate.charge(records, quantity)


def test_the_same_batch_at_once_from_many_sides_counts_once(
    client: FlaskClient, app: Flask, user_id: str
) -> None:
    records = [a_record(user_id, 1, record_id=f"cdr-{n}") for n in range(150)]

    def send(_: int) -> int:
        with app.app_context():
            return use(app.test_client(), *records)["accepted"]

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(4))) == 150
    assert charged(client, user_id) == {"data_mb@home": 500}


def test_thresholds_are_told_once_and_only_the_highest_of_several(client: FlaskClient, user_id: str) -> None:
    for quantity in (49, 1, 10, 40, 5):
        use(client, a_record(user_id, quantity))
    events = emitted("usage.threshold_reached")
    assert [(e.data["percent"], e.data["used"]) for e in events] == [(50, 50), (100, 100)]
    for event in events:
        assert contracts.violation(event.type, event.data) is None
    assert events[0].data["until"] == "2026-11-30T18:30:00.000000Z"


def activate(
    user_id: str,
    ends: datetime | None,
    *,
    service_id: str | None = None,
    kind: str = "data_mb",
    granted: int = 1_000,
) -> str:
    """A service is on, or on for longer; its id."""
    service_id = service_id or ids.new_id()
    data = {
        "service_id": service_id, "order_id": ids.new_id(), "order_number": "ORD-1", "user_id": user_id,
        "offering_id": ids.new_id(), "offering_code": "data-1gb", "offering_name": "Data Day 1 GB", "category": "data",
        "allowances": [{"kind": kind, "granted": granted, "used": 0}],
        "activated_at": clock.rfc3339(clock.now()), "expires_at": None if ends is None else clock.rfc3339(ends),
    }  # fmt: skip
    deliver(HANDLERS, an_event("service.activated", user_id, data))
    return service_id


def test_of_several_services_the_one_that_lapses_first_is_used_first_and_each_is_told_of_once(
    client: FlaskClient, user_id: str
) -> None:
    now = clock.now()
    endless, later, sooner = (
        activate(user_id, ends, granted=100)
        for ends in (None, now + timedelta(days=9), now + timedelta(days=1))
    )
    for quantity in (60, 5, 85):
        use(client, a_record(user_id, quantity))
    told = [(e.data["service_id"], e.data["percent"]) for e in emitted("usage.threshold_reached")]
    assert told == [(sooner, 50), (sooner, 100), (later, 50)]
    use(client, a_record(user_id, 60))
    used = {e.data["service_id"]: e.data["used"] for e in emitted("allowance.used")}
    assert used == {sooner: 100, later: 100, endless: 10}


def test_a_service_on_for_longer_brings_its_allowance_anew(client: FlaskClient, user_id: str) -> None:
    service_id = activate(user_id, clock.now() + timedelta(days=1), granted=100)
    use(client, a_record(user_id, 90))
    activate(user_id, clock.now() + timedelta(days=2), service_id=service_id, granted=100)
    use(client, a_record(user_id, 60))
    bought = usage(client, user_id)["allowances"][0]
    assert (bought["granted"], bought["used"]) == (100, 60)
    assert [e.data["percent"] for e in emitted("usage.threshold_reached")] == [80, 50]


@pytest.mark.parametrize("change", ["brought anew", "switched off"])
def test_a_service_does_not_change_while_its_customers_usage_is_being_rated(
    database_url: str, tmp_path: Path, change: str
) -> None:
    """Which begins with locking the account. Else what comes anew would count as used, what has ended would cover."""
    app = make_app("billing", database_url, tmp_path, lock_timeout_s=0.1)
    with app.app_context():
        user_id = open_account()
        service_id = activate(user_id, clock.now() + timedelta(days=1), granted=100)
        with transaction() as session:
            lock_account_of(session, user_id)
            with pytest.raises(OperationalError):
                if change == "brought anew":
                    activate(user_id, clock.now() + timedelta(days=2), service_id=service_id, granted=100)
                else:
                    deactivate(user_id, service_id)
        db.engine.dispose()


def test_abroad_only_what_was_bought_for_abroad_covers(client: FlaskClient, user_id: str) -> None:
    activate(user_id, None, granted=1_000)
    activate(user_id, None, kind="roaming_minutes", granted=10)
    use(
        client, a_record(user_id, 1, zone="zone_1"), a_record(user_id, 8, kind="voice_minutes", zone="zone_1")
    )
    assert charged(client, user_id) == {"data_mb@zone_1": 300, "voice_minutes@zone_1": 0}


def test_the_cap_on_roaming_is_one_for_all_that_is_used_abroad(client: FlaskClient, user_id: str) -> None:
    for kind in ("data_mb", "voice_minutes") * 3:
        use(client, a_record(user_id, 1, kind=kind, zone="zone_1"))
    assert charged(client, user_id) == {"data_mb@zone_1": 600, "voice_minutes@zone_1": 400}
    told = [(e.data["percent"], e.data["used"]) for e in emitted("usage.threshold_reached")]
    assert told == [(50, 500), (80, 800), (100, 1_000)]


def test_what_a_bought_service_brings_is_used_up_first_and_lapses_with_it(
    client: FlaskClient, user_id: str
) -> None:
    service_id, ends = ids.new_id(), clock.now() + timedelta(days=1)
    for _ in range(2):
        activate(user_id, ends, service_id=service_id)
    clock.move(timedelta(minutes=1))
    use(client, a_record(user_id, 600))
    assert charged(client, user_id) == {"data_mb@home": 0}
    bought, plan = usage(client, user_id)["allowances"]
    assert (bought["used"], bought["percent"], plan["used"]) == (600, 60, 0)
    assert emitted("usage.threshold_reached")[0].data["service_id"] == service_id
    (told,) = emitted("allowance.used")
    assert contracts.violation(told.type, told.data) is None
    assert (told.data["service_id"], told.data["used"]) == (service_id, 600)
    assert told.data["until"] == clock.rfc3339(ends)
    deactivate(user_id, service_id)
    use(client, a_record(user_id, 101))
    assert charged(client, user_id) == {"data_mb@home": 10}


def deactivate(user_id: str, service_id: str) -> None:
    off = {
        "service_id": service_id,
        "user_id": user_id,
        "offering_code": "x",
        "offering_name": "x",
        "reason": "x",
    }
    deliver(HANDLERS, an_event("service.deactivated", user_id, off, time=clock.now()))


def test_an_activation_that_comes_after_its_end_brings_nothing_back_and_a_new_one_does(
    client: FlaskClient, user_id: str
) -> None:
    service_id, ends = ids.new_id(), clock.now() + timedelta(days=1)
    with clock.frozen(clock.now() + timedelta(minutes=5)):
        deactivate(user_id, service_id)
    activate(user_id, ends, service_id=service_id)
    clock.move(timedelta(minutes=10))
    use(client, a_record(user_id, 101))
    assert charged(client, user_id) == {"data_mb@home": 10}
    activate(user_id, ends, service_id=service_id)
    clock.move(timedelta(minutes=1))
    use(client, a_record(user_id, 101))
    assert charged(client, user_id) == {"data_mb@home": 10}


def test_usage_is_shown_by_the_days_of_the_operator(client: FlaskClient, user_id: str) -> None:
    for at, quantity in (("2026-11-20T18:29:59Z", 1), ("2026-11-20T18:30:00Z", 10)):
        use(client, a_record(user_id, quantity, occurred_at=at))
    shown = [
        usage(client, user_id, **{"from": day, "to": day})["items"] for day in ("2026-11-20", "2026-11-21")
    ]
    assert [[item["quantity"] for item in items] for items in shown] == [[1], [10]]


def test_days_out_of_range_are_refused(client: FlaskClient, user_id: str) -> None:
    for query in (
        "from=0001-01-01", "to=9999-12-31", "from=2026-11-02&to=2026-11-01", "from=2025-11-01", "day=2026-11-01",
    ):  # fmt: skip
        answer = client.get(f"/api/billing/usage?{query}", headers=bearer(user_id))
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), query


def test_ndjson_is_taken_as_json_is(client: FlaskClient, user_id: str) -> None:
    body = b"\n".join(orjson.dumps(a_record(user_id, 10)) for _ in range(3)) + b"\n"
    lines = {"Content-Type": "application/x-ndjson"}
    answer = client.post("/api/billing/admin/usage-records", data=body, headers=admin() | lines)
    assert (answer.status_code, answer.json["accepted"]) == (200, 3)
    bad = client.post("/api/billing/admin/usage-records", data=b"{}\nnonsense", headers=admin() | lines)
    assert bad.status_code == 400


def test_records_of_unknown_users_are_named_and_others_kept(client: FlaskClient, user_id: str) -> None:
    stranger, mine = a_record(ids.new_id()), a_record(user_id)
    answer = use(client, stranger, mine)
    assert (answer["accepted"], answer["unknown_users"]) == (1, [stranger["record_id"]])


def test_a_record_that_costs_more_than_an_invoice_can_say_is_named_and_left_out(
    client: FlaskClient,
) -> None:
    """Kept, it would keep the billing run from ever getting past this customer."""
    dear = {"kind": "data_mb", "name": "Data", "tiers": [{"price_minor": 10**9}]}
    user_id = open_account()
    subscribe(client, user_id, offer_plan(client, rates=[dear]))
    absurd, large, over = (a_record(user_id, quantity) for quantity in (10**12, 1_000, 1))
    answer = use(client, absurd, large, over)
    assert (answer["accepted"], answer["implausible"]) == (1, [absurd["record_id"], over["record_id"]])
    assert charged(client, user_id) == {"data_mb@home": 10**12}
    assert run_billing(client, "2026-11")["invoices"] == 1


def test_usage_without_a_plan_for_it_is_kept_and_said_to_be_unrated(client: FlaskClient) -> None:
    user_id = open_account()
    assert use(client, a_record(user_id))["unrated"] == 1
    assert usage(client, user_id)["items"][0]["quantity"] == 1


def test_a_record_costs_what_the_plan_says_that_was_held_when_it_occurred(client: FlaskClient) -> None:
    user_id, hour = open_account(), timedelta(hours=1)
    dear, cheap = (
        offer_plan(
            client, code, rates=[{"kind": "data_mb", "name": "Data", "tiers": [{"price_minor": price}]}]
        )
        for code, price in (("dear", 10), ("cheap", 3))
    )
    began = clock.now()
    path = f"/api/billing/subscriptions/{subscribe(client, user_id, dear)['id']}"
    clock.move(hour)
    client.post(f"{path}/change", json={"plan_id": cheap["id"]}, headers=bearer(user_id))
    clock.move(hour)
    client.post(f"{path}/cancel", json={"when": "now"}, headers=bearer(user_id))
    late = [
        a_record(user_id, quantity, occurred_at=clock.rfc3339(began + hours * hour))
        for hours, quantity in ((-0.5, 7), (0.5, 1), (1.5, 100), (2.5, 7))
    ]
    assert use(client, *late)["unrated"] == 2
    assert charged(client, user_id) == {"data_mb@home": 10 + 300}


BAD_RECORDS: list[dict[str, Any]] = [
    {"quantity": 0},
    {"quantity": -1},
    {"quantity": 1.5},
    {"quantity": 10**13},
    {"kind": "DATA"},
    {"record_id": ""},
    {"occurred_at": "2027-01-01T00:00:00Z"},
    {"occurred_at": "2026-11-01T00:00:00"},
    {"surprise": 1},
]


def test_a_bad_record_refuses_the_batch_and_nothing_is_kept(client: FlaskClient, user_id: str) -> None:
    for changes in BAD_RECORDS:
        body = {"records": [a_record(user_id), a_record(user_id) | changes]}
        answer = client.post("/api/billing/admin/usage-records", json=body, headers=admin())
        assert answer.status_code == 422, changes
        assert answer.json["errors"][0]["field"].startswith("records.1")
    assert usage(client, user_id)["items"] == []


BAD_RATES: list[list[dict[str, Any]]] = [
    [{**DATA, "tiers": [{"up_to": 50, "price_minor": 1}]}],
    [
        {
            **DATA,
            "tiers": [{"up_to": 50, "price_minor": 1}, {"up_to": 50, "price_minor": 1}, {"price_minor": 1}],
        }
    ],
    [{**CALLS, "included": 61}],
    [DATA, DATA],
]


def test_rates_that_make_no_sense_are_refused(client: FlaskClient) -> None:
    for rates in BAD_RATES:
        body = {"code": "x", "name": "X", "category": "x", "price": rupees(0), "rates": rates}
        answer = client.post("/api/billing/admin/plans", json=body, headers=admin())
        assert answer.status_code == 422, rates


def test_only_admins_bring_usage(client: FlaskClient) -> None:
    headers = bearer(None, "agent")
    assert client.post("/api/billing/admin/usage-records", json={}, headers=headers).status_code == 403
