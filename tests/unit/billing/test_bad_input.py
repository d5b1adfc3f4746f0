"""Every field and parameter of every request with what no honest client sends: refused, and nothing written."""

import json
from collections.abc import Iterator
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select

from billing.models import Base
from common import ids
from common.db import reading
from tests.support.billing import (
    ADMIN,
    a_line,
    a_record,
    bill,
    offer_plan,
    open_account,
    run_billing,
    rupees,
    subscribe,
)
from tests.support.services import bearer

NASTY = (10**30, 1.5, "a\x00b", "\ud800", [[]], {"a": 1})
NASTY_TEXTS = ("", "%00", "%ff", "-1", "x" * 300, "9999-99-99")
RATE = {"kind": "sms", "zone": "home", "name": "SMS", "unit": 1, "included": 5, "per_record_minor": 1,
        "tiers": [{"up_to": 10, "price_minor": 4}, {"price_minor": 5}]}  # fmt: skip
PERIOD = "2026-01"


def spoiled(value: Any) -> Iterator[Any]:
    """A body with each of its fields, at any depth, replaced."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, field in inner:
        for wrong in (*NASTY, *spoiled(field)):
            copy = value.copy()
            copy[key] = wrong
            yield copy


def rows() -> dict[str, int]:
    with reading() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in ("idempotency_keys", "heartbeats")
        }


def test_no_field_and_no_parameter_takes_what_it_is_not_for(client: FlaskClient) -> None:
    user_id = open_account()
    held = subscribe(client, user_id, offer_plan(client))
    other, invoice = offer_plan(client, "other"), bill(client, user_id)
    path = f"/invoices/{invoice['id']}"
    disputes = f"/api/billing{path}/disputes"
    dispute = client.post(disputes, json={"reason": "not mine"}, headers=bearer(user_id)).json
    run = run_billing(client, PERIOD)
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/admin/invoices", {"user_id": user_id, "lines": [a_line(5)], "due_on": "2026-12-05",
                                     "period": PERIOD}),
        ("POST", f"/admin{path}/credit-notes", {"amount": rupees(1), "reason": "line was down"}),
        ("POST", f"/admin/disputes/{dispute['id']}/resolve",
         {"outcome": "accepted", "resolution": "looked at", "credit": rupees(1)}),
        ("POST", "/admin/billing-runs", {"period": PERIOD}),
        ("POST", "/admin/usage-records", {"records": [a_record(user_id, zone="home")]}),
        ("POST", "/admin/plans", {"code": "c", "name": "n", "description": "d", "category": "tv", "price": rupees(5),
                                  "rates": [RATE], "roaming_cap": rupees(5)}),
        ("PATCH", f"/admin/accounts/{user_id}", {"kind": "prepaid"}),
        ("POST", "/subscriptions", {"plan_id": other["id"]}),
        ("POST", f"/subscriptions/{held['id']}/change", {"plan_id": other["id"], "when": "now"}),
        ("POST", f"/subscriptions/{held['id']}/cancel", {"when": "now"}),
        ("POST", f"{path}/disputes", {"reason": "not mine"}),
    ]  # fmt: skip
    queries = {
        "/account": ("user_id",),
        "/invoices": ("user_id", "state", "from", "to", "limit", "cursor"),
        f"{path}/pdf": ("language",),
        f"{path}/disputes": ("limit", "cursor"),
        "/plans": ("limit", "cursor"),
        "/subscriptions": ("user_id", "limit", "cursor"),
        "/usage": ("user_id", "from", "to"),
        "/ledger": ("user_id", "limit", "cursor"),
        "/admin/disputes": ("state", "limit", "cursor"),
    }
    before = rows()
    for method, where, body in bodies:
        staff = where.startswith("/admin")
        for wrong in spoiled(body):
            headers = bearer(ADMIN if staff else user_id, "admin" if staff else "customer", key=ids.new_id())
            sent = {"data": json.dumps(wrong), "content_type": "application/json", "headers": headers}
            _assert_refused(client.open(f"/api/billing{where}", method=method, **sent), (where, wrong))
    for where, names in queries.items():
        for name in names:
            for text in NASTY_TEXTS:
                answer = client.get(f"/api/billing{where}?{name}={text}", headers=bearer(ADMIN, "admin"))
                _assert_refused(answer, (where, name, text))
    for where in (f"/invoices/{run['id']}", "/invoices/x", "/subscriptions/%00", "/admin/billing-runs/x"):
        _assert_refused(client.get(f"/api/billing{where}", headers=bearer(ADMIN, "admin")), where)
    assert rows() == before


def _assert_refused(answer: Any, what: Any) -> None:
    assert 400 <= answer.status_code < 500, (what, answer.text)
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"]
