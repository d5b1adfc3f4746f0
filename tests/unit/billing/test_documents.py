"""Invoices on paper: in the customer's language, with everything that was billed, only for whom they are."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from billing.config import Settings
from common import ids
from common.db import db
from common.settings import SettingsError
from tests.support.billing import a_line, admin, bill, open_account, pay
from tests.support.services import bearer, make_app

ENVIRONMENT = {"BILLING_DATABASE_URL": "sqlite:///x", "RABBITMQ_URL": "amqp://x", "JWKS_URL": "http://x"}


@pytest.mark.parametrize("language", ["en", "si", "ta"])
def test_a_customer_gets_the_invoice_in_their_language_alike_each_time(
    client: FlaskClient, language: str
) -> None:
    user_id = open_account(language=language, name="ශ්‍රී පෙරේරා")
    invoice = bill(client, user_id)
    path, headers = f"/api/billing/invoices/{invoice['id']}/pdf", bearer(user_id)
    first, again = (client.get(path, headers=headers) for _ in range(2))
    assert (first.status_code, first.content_type) == (200, "application/pdf")
    assert first.data.startswith(b"%PDF-")
    assert first.data == again.data
    assert f"/Lang ({language})".encode() in first.data or b"/Lang" in first.data
    assert first.data == client.get(f"{path}?language={language}", headers=headers).data
    pay(user_id, invoice["id"], 120_000)
    assert client.get(path, headers=headers).data != first.data


def test_a_long_invoice_with_hostile_text_is_only_text(client: FlaskClient) -> None:
    user_id = open_account(name='#panic("x") $ * _ \\ <a>')
    lines = [a_line(100, description=f"#read({n}) *bold* $x$ <script>") for n in range(100)]
    body = {"user_id": user_id, "lines": lines, "due_on": "2026-12-05"}
    invoice = client.post("/api/billing/admin/invoices", json=body, headers=admin()).json
    answer = client.get(f"/api/billing/invoices/{invoice['id']}/pdf", headers=bearer(user_id))
    assert answer.status_code == 200
    assert answer.data.count(b"/Type /Page\n") + answer.data.count(b"/Type /Page/") != 1


def test_anothers_invoice_is_not_printed(client: FlaskClient) -> None:
    invoice = bill(client, open_account())
    path = f"/api/billing/invoices/{invoice['id']}/pdf"
    assert client.get(path, headers=bearer(open_account())).status_code == 404
    assert client.get(path, headers=bearer(None, "agent")).status_code == 200
    assert client.get(f"{path}?language=fr", headers=bearer(None, "agent")).status_code == 422
    assert client.get(f"/api/billing/invoices/{ids.new_id()}/pdf", headers=bearer()).status_code == 404


def test_the_operators_name_and_logo_are_settings(database_url: str, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>'
    )
    plain = make_app("billing", database_url, tmp_path)
    dressed = make_app(
        "billing",
        database_url,
        tmp_path,
        operator_name="Lanka Tel",
        operator_logo=logo,
        operator_address="1 Main St|Kandy",
    )
    with plain.app_context():
        user_id = open_account()
        invoice = bill(plain.test_client(), user_id)
        db.engine.dispose()
    pdfs = []
    for app in (plain, dressed):
        with app.app_context():
            answer = app.test_client().get(
                f"/api/billing/invoices/{invoice['id']}/pdf", headers=bearer(user_id)
            )
            pdfs.append(answer.data)
            db.engine.dispose()
    assert pdfs[0] != pdfs[1]
    assert b"Lanka Tel" in pdfs[1]


def test_a_logo_that_is_not_there_stops_the_start_by_name() -> None:
    with pytest.raises(SettingsError, match="BILLING_OPERATOR_LOGO"):
        Settings.from_env(ENVIRONMENT | {"BILLING_OPERATOR_LOGO": "/nowhere/logo.svg"})
