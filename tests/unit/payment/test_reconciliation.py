"""A settlement against our payments: everything matches, or is a difference with a resolution."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from common import clock, ids
from common.db import reading, transaction
from payment.gateway.simulated import settlement
from payment.jobs import advance_payments, compare_settlements, make_refunds
from payment.models import Payment, PaymentState, Reconciliation, ReconciliationState, Refund, SettlementLine
from payment.routes import reconciliations as reconciliation_routes
from payment.use_cases import reconciliations
from tests.support.payments import LOSES_ANSWER, card, new_order, order_event, pay, top_up
from tests.support.services import bearer, token

ME, ADMIN = ids.new_id(), ids.new_id()
STAFF = {"Authorization": f"Bearer {token(ADMIN, 'admin', exp=4_000_000_000)}"}
PATH = "/api/payment/admin/reconciliations"


@pytest.fixture(autouse=True)
def frozen_clock() -> Iterator[None]:
    """All on one day."""
    with clock.frozen(clock.now()):
        yield


def upload(client: FlaskClient, body: bytes, key: str | None = None, **query: str) -> TestResponse:
    today = clock.today().isoformat()
    wanted = {"gateway": "simulated", "from_on": today, "to_on": today} | query
    headers = (
        bearer(ADMIN, "admin") | {"Content-Type": "text/csv"} | ({"Idempotency-Key": key} if key else {})
    )
    return client.post(PATH, data=body, headers=headers, query_string=wanted)


def run(client: FlaskClient, body: bytes) -> dict:
    run_id = upload(client, body).json["id"]
    while compare_settlements():
        pass
    return client.get(f"{PATH}/{run_id}", headers=bearer(ADMIN, "admin")).json


def theirs() -> bytes:
    now = clock.now()
    return b"".join(settlement(now - timedelta(hours=1), now + timedelta(hours=1)))


def trade(client: FlaskClient, payments: int = 4) -> list[str]:
    """Payments, one of them refunded, and a top-up."""
    made = []
    for number in range(payments):
        order_id = new_order(ME)
        made.append(pay(client, ME, order_id).json["id"])
        if number == 0:
            order_event("order.failed", order_id, ME)
    make_refunds()
    top_up(client, ME, 5_000)
    return made


def test_a_settlement_that_is_right_matches_line_by_line(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(client)
    monkeypatch.setattr(reconciliations, "BATCH", 2)
    done = run(client, theirs())
    assert (done["state"], done["lines"], done["compared"], done["matched"]) == ("completed", 6, 6, 6)
    assert done["differences"] == {}
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SettlementLine)) == 0


def test_the_simulated_gateway_writes_its_settlement_for_days_of_the_operator(
    app: Flask, client: FlaskClient, tmp_path: Path
) -> None:
    trade(client)
    today, file = clock.today(), tmp_path / "settlement.csv"
    command = ["settlement", "--from", today.isoformat(), "--output", str(file)]
    assert app.test_cli_runner().invoke(args=command).exit_code == 0
    assert run(client, file.read_bytes())["matched"] == 6
    before = today - timedelta(days=1)
    shown = app.test_cli_runner().invoke(args=["settlement", "--from", before.isoformat()])
    assert shown.output == "kind,key,amount_minor,currency\n"
    wrong = ["settlement", "--from", today.isoformat(), "--to", before.isoformat()]
    assert app.test_cli_runner().invoke(args=wrong).exit_code == 2


def test_a_charge_that_we_have_at_another_gateway_is_missing_here_and_so_is_its_refund(
    client: FlaskClient,
) -> None:
    """The same key captured at two gateways is a customer charged twice."""
    first = trade(client)[0]
    with transaction() as session:
        session.execute(update(Payment).where(Payment.id == first).values(gateway="another"))
    done = run(client, theirs())
    assert (done["matched"], done["differences"]) == (4, {"missing_here": 2})


def test_what_was_paid_back_by_hand_is_not_looked_for_at_the_gateway(client: FlaskClient) -> None:
    trade(client)
    done = run(client, b"\n".join(line for line in theirs().splitlines() if not line.startswith(b"refund")))
    assert done["differences"] == {"missing_there": 1}
    with transaction() as session:
        session.execute(update(Refund).values(by_hand=True))
    done = run(client, b"\n".join(line for line in theirs().splitlines() if not line.startswith(b"refund")))
    assert done["differences"] == {}


def test_every_difference_is_found_and_gets_its_resolution(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trade(client)
    pending = pay(client, ME, new_order(ME), method=card(LOSES_ANSWER)).json["id"]
    lines = theirs().decode().splitlines()
    lines = [line for line in lines if made[1] not in line]
    lines = [line.replace("120000", "120001") if made[2] in line else line for line in lines]
    lines += [f"charge,{ids.new_id()},77,LKR", next(line for line in lines if made[3] in line)]
    monkeypatch.setattr(reconciliations, "BATCH", 3)
    done = run(client, "\n".join(lines).encode())
    assert done["differences"] == {
        "missing_there": 1,
        "amount_differs": 1,
        "missing_here": 1,
        "twice_there": 1,
        "state_differs": 1,
    }
    path = f"{PATH}/{done['id']}/differences"
    found = {item["kind"]: item for item in client.get(path, headers=bearer(ADMIN, "admin")).json["items"]}
    assert found["missing_there"]["key"] == made[1]
    assert (found["amount_differs"]["ours"]["amount_minor"], found["amount_differs"]["key"]) == (
        120_000,
        made[2],
    )
    assert (found["state_differs"]["key"], found["state_differs"]["resolution"]) == (pending, "gateway_asked")
    advance_payments()
    with reading() as session:
        assert session.get_one(Payment, pending).state is PaymentState.COMPLETED
    resolve = f"{path}/{found['missing_here']['id']}/resolve"
    for status in (200, 409):
        answer = client.post(resolve, json={"note": "another shop's"}, headers=bearer(ADMIN, "admin"))
        assert answer.status_code == status


def test_an_upload_with_a_key_is_one_run_and_another_file_under_it_is_refused(client: FlaskClient) -> None:
    trade(client)
    first, again = upload(client, theirs(), key="k"), upload(client, theirs(), key="k")
    assert (first.status_code, again.data) == (202, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = upload(client, theirs().replace(b"120000", b"120001"), key="k")
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    while compare_settlements():
        pass
    done = client.get(f"{PATH}/{first.json['id']}", headers=STAFF).json
    assert (done["state"], done["lines"], done["matched"]) == ("completed", 6, 6)


def test_an_upload_that_broke_off_is_sent_again_or_forgotten(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(client)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(reconciliation_routes, "LINES", 4)
    with clock.frozen(clock.now()):
        for key in ("sent again", "forgotten"):
            with monkeypatch.context() as patch, pytest.raises(Killed):
                patch.setattr(reconciliations, "start_comparing", die)
                upload(client, theirs(), key=key)
        clock.move(timedelta(seconds=30))
        sent_again = upload(client, theirs(), key="sent again")
        assert sent_again.status_code == 202, sent_again.text
        clock.move(timedelta(hours=25))
        while compare_settlements():
            pass
    done = client.get(f"{PATH}/{sent_again.json['id']}", headers=STAFF).json
    assert (done["state"], done["lines"], done["matched"]) == ("completed", 6, 6)
    with reading() as session:
        states = session.scalars(select(Reconciliation.state).order_by(Reconciliation.id)).all()
        assert states == [ReconciliationState.COMPLETED, ReconciliationState.REFUSED]
        assert session.scalar(select(func.count()).select_from(SettlementLine)) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"kind,key\n",
        b"kind,key,amount_minor,currency\ncharge,x,1,LKR\n",
        b"kind,key,amount_minor,currency\ncharge,%b,-1,LKR\n" % ME.encode(),
        b"kind,key,amount_minor,currency\ncharge,%b,1.5,LKR\n" % ME.encode(),
        b"kind,key,amount_minor,currency\ncharge,%b,99999999999999999999,LKR\n" % ME.encode(),
        b"kind,key,amount_minor,currency\n" + b"x" * 5_000,
        b"\xff\xfe\x00",
        b'kind,key,amount_minor,currency\n"',
    ],
)
def test_a_file_that_cannot_be_read_counts_for_nothing(client: FlaskClient, body: bytes) -> None:
    answer = upload(client, body)
    assert (answer.status_code, answer.json["code"]) == (422, "settlement_unreadable")
    while compare_settlements():
        pass
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SettlementLine)) == 0
        assert session.scalars(select(Reconciliation.state)).all() == [ReconciliationState.REFUSED]


def test_only_admins_reconcile_and_only_known_gateways(client: FlaskClient) -> None:
    assert upload(client, b"", gateway="paypal").status_code == 422
    assert upload(client, b"", to_on="2020-01-01").status_code == 422
    assert upload(client, b"", from_on="0001-01-01").status_code == 422
    assert upload(client, b"", to_on="9999-12-31").status_code == 422
    answer = client.post(PATH, data=b"x", headers=bearer(ME) | {"Content-Type": "text/csv"})
    assert answer.status_code == 403
    answer = client.post(PATH, data=b"x", headers=STAFF | {"Content-Type": "text/plain"})
    assert answer.status_code in (415, 422)
