"""Plans that come with the service: offered once by the operator's command."""

from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from tests.support.billing import admin, open_account, subscribe
from tests.support.services import bearer


def test_the_operators_command_offers_plans_once_and_withdrawn_ones_stay_so(
    app: Flask, client: FlaskClient
) -> None:
    first, again = (app.test_cli_runner().invoke(args=["seed-plans"]) for _ in range(2))
    assert first.output == "6 of 6 plans added\n"
    plans = client.get("/api/billing/plans", headers=bearer()).json["items"]
    assert {plan["category"] for plan in plans} == {"mobile", "broadband", "fixed_voice", "tv"}
    user_id = open_account()
    for plan in {plan["category"]: plan for plan in plans}.values():
        subscribe(client, user_id, plan)
    client.post(f"/api/billing/admin/plans/{plans[0]['id']}/withdraw", headers=admin())
    assert again.output == app.test_cli_runner().invoke(args=["seed-plans"]).output == "0 of 6 plans added\n"
    assert len(client.get("/api/billing/plans", headers=bearer()).json["items"]) == 5


def test_a_broken_file_of_plans_adds_none(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    file = tmp_path / "plans.json"
    file.write_text('[{"code": "Bad Code"}]')
    assert app.test_cli_runner().invoke(args=["seed-plans", "--file", str(file)]).exit_code == 1
    assert client.get("/api/billing/plans", headers=bearer()).json["items"] == []
