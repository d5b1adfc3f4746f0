"""Invoices: what is billed, to whom, under which number, and how they are read."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from billing.config import Settings, Tax
from billing.models import Account, Counter, Invoice
from billing.queries.invoices import _invoices_statement
from billing.use_cases.taxes import tax_on
from common import clock, contracts, ids
from common.db import db, reading, transaction
from common.money import MAX_MINOR
from common.settings import SettingsError
from tests.support.billing import ADMIN, a_line, account_of, bill, invoice_of, open_account, pay, rupees
from tests.support.services import bearer, emitted, make_app, token

POST = "/api/billing/admin/invoices"


def wish(user_id: str, **changes: Any) -> dict[str, Any]:
    return {"user_id": user_id, "lines": [a_line(120_000)], "due_on": "2026-12-05"} | changes


def admin(key: str | None = None) -> dict[str, str]:
    return bearer(ADMIN, "admin", key=key or ids.new_id())


def test_an_invoice_tells_what_is_owed_and_the_platform_hears_of_it_once(client: FlaskClient) -> None:
    user_id = open_account()
    lines = [a_line(349_000), a_line(5_050, description="ශ්\u200dරී ලංකා · ip address", quantity=3)]
    with clock.frozen(datetime(2026, 11, 21, tzinfo=UTC)):
        headers = admin()
        answer = client.post(POST, json=wish(user_id, lines=lines, period="2026-11"), headers=headers)
    assert answer.status_code == 201, answer.text
    invoice = answer.json
    assert (invoice["number"], invoice["state"]) == ("INV-2026-000001", "issued")
    assert [line["amount"] for line in invoice["lines"]] == [rupees(349_000), rupees(15_150)]
    assert invoice["total"] == invoice["amount_due"] == rupees(364_150)
    assert account_of(client, user_id)["balance_due"] == rupees(364_150)
    (event,) = emitted("invoice.issued")
    assert contracts.violation(event.type, event.data) is None
    assert event.data["invoice_id"] == invoice["id"]
    assert (event.subject, event.data["amount_due"]) == (user_id, rupees(364_150))


def test_taxes_are_taken_on_the_net_sum_and_rounded_half_up_once(database_url: str, tmp_path: Any) -> None:
    taxes = [
        {"code": "VAT", "name": "Value added tax", "rate_percent": "18"},
        {"code": "CESS", "name": "Cess", "rate_percent": "2.5"},
    ]
    app = make_app("billing", database_url, tmp_path, taxes=taxes)
    with app.app_context():
        user_id = open_account()
        lines = [a_line(10), a_line(10)]
        answer = app.test_client().post(POST, json=wish(user_id, lines=lines), headers=admin())
        db.engine.dispose()
    invoice = answer.json
    # 20 × 18 % = 3.6 → 4; 20 × 2.5 % = 0.5 → 1. By line it would have been 2 + 2 and 0 + 0.
    assert [(t["code"], t["rate_percent"], t["amount"]["amount_minor"]) for t in invoice["tax_lines"]] == [
        ("VAT", "18", 4),
        ("CESS", "2.5", 1),
    ]
    assert (invoice["subtotal"], invoice["total"]) == (rupees(20), rupees(25))


@pytest.mark.parametrize(("net", "rate", "tax"), [(1, "50", 1), (1, "49.9999", 0), (10**12, "0.0001", 10**6)])
def test_half_a_minor_unit_is_rounded_up_and_less_is_not(net: int, rate: str, tax: int) -> None:
    assert tax_on(net, Tax.model_validate({"code": "T", "name": "T", "rate_percent": rate})) == tax


@pytest.mark.parametrize(
    "taxes", ["no json", '[{"code": "VAT"}]', '[{"code":"V","name":"V","rate_percent":-1}]']
)
def test_taxes_that_make_no_sense_stop_the_start_by_name(taxes: str) -> None:
    env = {"BILLING_DATABASE_URL": "sqlite:///x", "RABBITMQ_URL": "amqp://x", "JWKS_URL": "http://x"}
    with pytest.raises(SettingsError, match="BILLING_TAXES"):
        Settings.from_env(env | {"BILLING_TAXES": taxes})


def test_a_bill_for_a_user_without_account_is_refused_and_nothing_is_written(client: FlaskClient) -> None:
    answer = client.post(POST, json=wish(ids.new_id()), headers=admin())
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert emitted() == []


def test_an_account_never_owes_more_than_can_be_told(client: FlaskClient) -> None:
    user_id = open_account()
    with transaction() as session:
        account = session.query(Account).filter_by(user_id=user_id).one()
        account.receivable_minor = MAX_MINOR - 10
    answer = client.post(POST, json=wish(user_id, lines=[a_line(11)]), headers=admin())
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "lines")
    assert client.get("/api/billing/account", headers=bearer(user_id)).status_code == 200


BAD_BILLS: list[tuple[dict[str, Any], str]] = [
    ({"lines": []}, "lines"),
    ({"lines": [a_line(0)]}, "lines.0.unit_price.amount_minor"),
    ({"lines": [a_line(-5)]}, "lines.0.unit_price.amount_minor"),
    ({"lines": [a_line(1.5)]}, "lines.0.unit_price.amount_minor"),
    ({"lines": [a_line(10**30)]}, "lines.0.unit_price.amount_minor"),
    ({"lines": [a_line(1, quantity=0)]}, "lines.0.quantity"),
    ({"lines": [a_line(10**12, quantity=2)]}, "body"),
    ({"lines": [a_line(1), a_line(1, unit_price=rupees(1, "USD"))]}, "lines"),
    ({"lines": [a_line(1, unit_price=rupees(1, "USD"))]}, "lines.0.unit_price.currency"),
    ({"lines": [a_line(1, description="a\nb")]}, "lines.0.description"),
    ({"lines": [a_line(1, description="a\x00b")]}, "lines.0.description"),
    ({"due_on": "2026-13-05"}, "due_on"),
    ({"due_on": "0001-01-01"}, "due_on"),
    ({"period": "2026-13"}, "period"),
    ({"user_id": "nobody"}, "user_id"),
    ({"discount": 5}, "discount"),
]  # fmt: skip


def test_bad_bills_are_refused_by_field_and_take_no_number(client: FlaskClient) -> None:
    user_id = open_account()
    for changes, field in BAD_BILLS:
        answer = client.post(POST, json=wish(user_id) | changes, headers=admin())
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        assert field in [error["field"] for error in answer.json["errors"]]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 0
        assert session.get(Counter, f"invoice-{clock.today().year}") is None


def test_only_admins_bill_and_only_with_a_key(client: FlaskClient) -> None:
    user_id = open_account()
    assert client.post(POST, json=wish(user_id)).status_code == 401
    for role in ("customer", "agent"):
        refused = client.post(POST, json=wish(user_id), headers=bearer(user_id, role, key="k"))
        assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    keyless = client.post(POST, json=wish(user_id), headers=bearer(ADMIN, "admin"))
    assert (keyless.status_code, keyless.json["code"]) == (400, "idempotency_key_required")


def test_the_same_key_bills_once(client: FlaskClient) -> None:
    user_id = open_account()
    first = client.post(POST, json=wish(user_id), headers=admin("one"))
    again = client.post(POST, json=wish(user_id), headers=admin("one"))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.data == first.data
    other = client.post(POST, json=wish(user_id, due_on="2026-12-06"), headers=admin("one"))
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert account_of(client, user_id)["balance_due"] == rupees(120_000)


def test_invoices_made_at_once_are_numbered_without_gaps_even_when_some_fail(app: Flask) -> None:
    with app.app_context():
        users = [open_account() for _ in range(4)]

    def one(index: int) -> int:
        with app.app_context():
            currency = "USD" if index % 3 == 0 else "LKR"
            body = wish(users[index % 4], lines=[a_line(100, unit_price=rupees(100, currency))])
            return app.test_client().post(POST, json=body, headers=admin()).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(one, range(30)))
    assert sorted(set(codes)) == [201, 422]
    with reading() as session:
        numbers = sorted(session.scalars(select(Invoice.number)))
    year = clock.today().year
    assert numbers == [f"INV-{year}-{n:06d}" for n in range(1, 21)]


def test_each_year_counts_from_one(client: FlaskClient) -> None:
    user_id = open_account()
    numbers = []
    for at in (datetime(2026, 12, 31, 18, 29, tzinfo=UTC), datetime(2026, 12, 31, 18, 31, tzinfo=UTC)):
        with clock.frozen(at):  # midnight in Colombo is 18:30 UTC
            numbers.append(bill(client, user_id)["number"])
    assert numbers == ["INV-2026-000001", "INV-2027-000001"]


def test_the_list_and_the_single_invoice_say_the_same(client: FlaskClient) -> None:
    user_id = open_account()
    paid, partly, open_ = (bill(client, user_id, amount) for amount in (100, 200, 300))
    pay(user_id, paid["id"], 100)
    pay(user_id, partly["id"], 50)
    voided = bill(client, user_id, 400)
    client.post(f"{POST}/{voided['id']}/void", headers=admin())
    listed = client.get("/api/billing/invoices", headers=bearer(user_id)).json
    assert [item["id"] for item in listed["items"]] == [i["id"] for i in (voided, open_, partly, paid)]
    assert listed["items"] == [invoice_of(client, user_id, item["id"]) for item in listed["items"]]
    assert listed["next_cursor"] is None
    assert [i["state"] for i in listed["items"]] == ["void", "issued", "partially_paid", "paid"]


def test_pages_follow_each_other_without_loss_or_repetition(client: FlaskClient) -> None:
    user_id = open_account()
    made = [bill(client, user_id)["id"] for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = client.get(
            "/api/billing/invoices",
            query_string={"limit": 2} | ({"cursor": cursor} if cursor else {}),
            headers=bearer(user_id),
        ).json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    assert cursor is None


def test_the_list_is_filtered_by_state_and_day_of_issue(client: FlaskClient) -> None:
    user_id = open_account()
    made = {}
    for day in (1, 2, 3):
        with clock.frozen(datetime(2026, 11, day, 6, tzinfo=UTC)):
            made[day] = bill(client, user_id)["id"]
    pay(user_id, made[2], 120_000)

    def ids_of(**filters: str) -> list[str]:
        answer = client.get("/api/billing/invoices", query_string=filters, headers=bearer(user_id))
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json["items"]]

    assert ids_of(state="paid") == [made[2]]
    assert ids_of(**{"from": "2026-11-02"}) == [made[3], made[2]]
    assert ids_of(to="2026-11-02") == [made[2], made[1]]
    assert ids_of(**{"from": "2026-11-02", "to": "2026-11-02", "state": "issued"}) == []


def test_bad_list_parameters_are_refused(client: FlaskClient) -> None:
    for query in (
        "state=owed", "from=yesterday", "cursor=%00", "cursor=abc", "limit=0", "limit=101", "page=2", "user_id=x",
    ):  # fmt: skip
        answer = client.get(f"/api/billing/invoices?{query}", headers=bearer())
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), query


def test_another_customers_invoices_are_not_there(client: FlaskClient) -> None:
    owner, other = open_account(), open_account()
    invoice = bill(client, owner)
    assert client.get("/api/billing/invoices", headers=bearer(other)).json["items"] == []
    for path in (f"/api/billing/invoices/{invoice['id']}", f"/api/billing/invoices?user_id={owner}"):
        refused = client.get(path, headers=bearer(other))
        assert (refused.status_code, refused.json["code"]) == (404, "not_found")
    seen = client.get(f"/api/billing/invoices?user_id={owner}", headers=bearer(None, "agent"))
    assert [item["id"] for item in seen.json["items"]] == [invoice["id"]]
    assert client.get("/api/billing/invoices/no-id", headers=bearer(owner)).status_code == 404
    expired = {"Authorization": f"Bearer {token(owner, exp=1)}"}
    assert client.get("/api/billing/invoices", headers=expired).status_code == 401


def test_a_deep_page_is_read_from_its_index_in_order(client: FlaskClient) -> None:
    """What keeps its cost from growing with depth: no sort, and no scan but of (user_id, id)."""
    statement = _invoices_statement(state=False, issued_from=False, issued_to=False, cursor=True)
    bound = statement.params({"user_id": ids.new_id(), "before": ids.new_id(), "rows": 21})
    sql = bound.compile(db.engine, compile_kwargs={"literal_binds": True}).string
    sqlite = db.engine.dialect.name == "sqlite"
    with reading() as session:
        connection = session.connection()
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the table is empty
        plan = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{sql}")
        steps = " ".join(str(row) for row in plan)
    assert "ix_invoices_user_id_id" in steps
    assert "B-TREE" not in steps
    assert "Sort" not in steps
