"""What agents and admins may do, and what of it is kept."""

import jwt
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from auth.handlers import AUDIT_HANDLERS
from auth.models import AuditEntry
from common.db import reading, transaction
from tests.support.accounts import NIMALI, Person, login, register, staff, told
from tests.support.eventually import eventually
from tests.support.services import emitted


def entries(action: str) -> list[AuditEntry]:
    with reading() as session:
        return list(
            session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.seq))
        )


@pytest.mark.parametrize("role", ["customer", "agent"])
def test_only_admins_change_users_review_kyc_and_read_the_trail(client: FlaskClient, role: str) -> None:
    me = register(client) if role == "customer" else staff(client, role)
    some = "01890a5d-ac96-774b-bcce-b302099a8057"
    calls = [
        ("patch", f"/api/auth/admin/users/{me.id}", {"roles": ["admin"]}),
        ("get", "/api/auth/admin/kyc", None),
        ("post", f"/api/auth/admin/kyc/{some}/approve", None),
        ("post", f"/api/auth/admin/kyc/{some}/reject", {"reason": "x"}),
        ("get", "/api/auth/admin/audit-log", None),
        ("get", "/api/auth/admin/audit-log/verify", None),
    ]
    if role == "customer":
        calls += [
            ("get", "/api/auth/admin/users", None),
            ("post", f"/api/auth/admin/users/{me.id}/act", None),
        ]
    for method, path, body in calls:
        answer = getattr(client, method)(path, json=body, headers=me.headers)
        assert answer.status_code == 403, path


def test_users_are_found_by_parts_of_name_address_and_number(client: FlaskClient) -> None:
    register(client, email="nimali@example.lk")
    register(client, phone="0772222222", name="100% Kumar")
    admin = staff(client, "admin")

    def found(query: str) -> list[str]:
        answer = client.get("/api/auth/admin/users", query_string={"query": query}, headers=admin.headers)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json["items"]]

    assert (
        found("nimali")
        == found("EXAMPLE.lk")
        == found("077 123 4567")
        == found("771234")
        == ["Nimali Perera"]
    )
    assert found("0%") == ["100% Kumar"]
    assert found("__") == []
    assert len(client.get("/api/auth/admin/users", headers=admin.headers).json["items"]) == 3


def test_a_granted_role_ends_old_sessions_counts_from_the_next_sign_in_and_is_looked_at(
    client: FlaskClient,
) -> None:
    me, admin = register(client), staff(client, "admin")
    path = f"/api/auth/admin/users/{me.id}"
    answer = client.patch(path, json={"roles": ["customer", "agent"]}, headers=admin.headers)
    assert answer.json["roles"] == ["customer", "agent"]
    assert told("session.revoked")["reason"] == "roles_changed"
    assert client.post("/api/auth/refresh", json={"refresh_token": me.refresh}).status_code == 401
    assert login(client).json["user"]["roles"] == ["customer", "agent"]
    alert = told("audit.compliance.alert")
    assert (alert["pattern"], alert["details"]) == ("role_granted", {"roles": ["agent"], "by": admin.id})
    (entry,) = entries("admin.user.changed")
    assert (entry.user_id, entry.actor_id) == (me.id, admin.id)
    assert entry.data["roles"] == {"before": ["customer"], "after": ["customer", "agent"]}


def test_a_deactivated_user_is_out_everywhere_until_activated_again(client: FlaskClient) -> None:
    me, admin = register(client), staff(client, "admin")
    path = f"/api/auth/admin/users/{me.id}"
    assert client.patch(path, json={"active": False}, headers=admin.headers).json["active"] is False
    assert len(emitted("user.deactivated")) == 1
    eventually(lambda: client.get("/api/auth/me", headers=me.headers).status_code == 401, within=2)
    assert login(client).status_code == 401
    assert client.patch(path, json={"active": True}, headers=admin.headers).json["active"] is True
    assert told("user.updated")["changed"] == ["active"]
    assert login(client).status_code == 200


def patch(client: FlaskClient, admin: Person, user_id: str, **body: object):
    return client.patch(f"/api/auth/admin/users/{user_id}", json=body, headers=admin.headers)


def test_a_banned_customers_number_stays_theirs_until_an_admin_lets_it_go(client: FlaskClient) -> None:
    me, admin = register(client, email="nimali@example.lk"), staff(client, "admin")
    assert patch(client, admin, me.id, release_number=True).status_code == 409, "an open account keeps it"
    assert patch(client, admin, me.id, active=False).status_code == 200
    again = client.post("/api/auth/register", json=NIMALI)
    assert again.json["code"] == "phone_already_registered"
    let_go = patch(client, admin, me.id, release_number=True)
    assert (let_go.json["phone"], let_go.json["email"]) == (me.phone, "nimali@example.lk")
    assert entries("admin.user.changed")[-1].data["number_released"] is True
    heir = register(client, email="nimali@example.lk")
    assert heir.id != me.id
    back = patch(client, admin, me.id, active=True)
    assert (back.status_code, back.json["code"]) == (409, "phone_already_registered")
    found = client.get("/api/auth/admin/users?query=0771234567", headers=admin.headers).json["items"]
    assert [item["id"] for item in found] == [heir.id, me.id], "who has the number, and who had it"


def test_a_closed_account_is_opened_again_with_its_number_while_that_is_free(client: FlaskClient) -> None:
    me, admin = register(client, email="nimali@example.lk"), staff(client, "admin")
    client.delete("/api/auth/me", headers=me.headers)
    register(client, phone="0773333333", email="nimali@example.lk")
    back = patch(client, admin, me.id, active=True).json
    assert (back["phone"], back["email"], back["phone_verified"]) == (me.phone, None, False)
    assert told("user.updated")["phone"] == me.phone
    assert login(client).status_code == 200


def test_an_admin_cannot_take_its_own_rights_away(client: FlaskClient) -> None:
    admin = staff(client, "admin")
    for body in ({"active": False}, {"roles": ["customer"]}):
        answer = client.patch(f"/api/auth/admin/users/{admin.id}", json=body, headers=admin.headers)
        assert (answer.status_code, answer.json["code"]) == (409, "own_account")
    assert client.get("/api/auth/me", headers=admin.headers).json["roles"] == ["admin"]


def acting(client: FlaskClient, agent: Person, user_id: str) -> Person:
    answer = client.post(f"/api/auth/admin/users/{user_id}/act", headers=agent.headers)
    assert answer.status_code == 200, answer.text
    return Person(user_id, "", answer.json["access_token"], "")


def test_an_agent_acting_for_a_customer_is_named_beside_them_in_token_event_and_trail(
    client: FlaskClient,
) -> None:
    me, agent = register(client), staff(client, "agent")
    token = acting(client, agent, me.id)
    claims = jwt.decode(token.access, options={"verify_signature": False})
    assert (claims["sub"], claims["act"], claims["roles"]) == (me.id, agent.id, ["customer"])
    assert client.patch("/api/auth/me", json={"language": "si"}, headers=token.headers).status_code == 200
    (event,) = emitted("user.updated")
    assert (event.subject, event.actor_id) == (me.id, agent.id)
    with transaction() as session:
        AUDIT_HANDLERS["#"](session, event)
    (entry,) = entries("user.updated")
    assert (entry.user_id, entry.actor_id) == (me.id, agent.id)
    assert entries("admin.acting.started")[0].actor_id == agent.id
    client.patch("/api/auth/me", json={"language": "ta"}, headers=me.headers)
    assert emitted("user.updated")[-1].actor_id == "", "the customer themselves acts alone"


def test_an_acting_agent_cannot_change_how_the_customer_signs_in_or_go_further(client: FlaskClient) -> None:
    me, agent = register(client), staff(client, "agent")
    token = acting(client, agent, me.id)
    for method, path, body in [
        ("post", "password/change", {"current_password": "x", "new_password": "another good password"}),
        ("post", "mfa/totp", None),
        ("delete", "mfa/totp", None),
        ("post", "passkeys/register/options", None),
        ("post", "verify/phone/request", None),
        ("post", "logout-all", None),
        ("post", "logout", None),
        ("delete", "me", None),
        ("patch", "me", {"email": "agent@example.lk"}),
        ("post", "me/lines", {"phone": "0773333333"}),
        ("post", "me/phone", {"phone": "0773333333"}),
        ("post", "me/phone/verify", {"phone": "0773333333", "code": "123456"}),
    ]:
        answer = getattr(client, method)(f"/api/auth/{path}", json=body, headers=token.headers)
        assert (answer.status_code, answer.json["code"]) == (403, "not_while_acting"), path
    again = client.post(f"/api/auth/admin/users/{me.id}/act", headers=token.headers)
    assert again.status_code == 403


def test_nobody_acts_for_staff_and_the_token_dies_with_the_agents_session(client: FlaskClient) -> None:
    me, admin, agent = register(client), staff(client, "admin"), staff(client, "agent", "0772000002")
    assert client.post(f"/api/auth/admin/users/{admin.id}/act", headers=agent.headers).status_code == 404
    token = acting(client, agent, me.id)
    assert client.get("/api/auth/me", headers=token.headers).json["id"] == me.id
    client.post("/api/auth/logout", headers=agent.headers)
    eventually(lambda: client.get("/api/auth/me", headers=token.headers).status_code == 401, within=2)


def test_each_look_at_a_customer_is_kept_and_very_many_raise_an_alert(client: FlaskClient, another) -> None:
    app = another(agent_reads=5)
    me, agent = register(client), staff(client, "agent")
    for _ in range(7):
        path = f"/api/auth/admin/users/{me.id}"
        assert app.test_client().get(path, headers=agent.headers).json["id"] == me.id
    assert len(entries("admin.user.read")) == 7
    alerts = [event.data for event in emitted("audit.compliance.alert")]
    assert [(alert["pattern"], alert["user_id"]) for alert in alerts] == [("mass_reads", agent.id)]


def test_reading_whole_pages_of_customers_or_acting_for_many_counts_as_reading_them(
    client: FlaskClient, another
) -> None:
    app = another(agent_reads=5).test_client()
    me, agent = register(client), staff(client, "agent")
    register(client, phone="0773333333")
    for _ in range(2):
        assert len(app.get("/api/auth/admin/users", headers=agent.headers).json["items"]) == 3
    assert told("audit.compliance.alert")["details"] == {"reads": 6}
    acts = [app.post(f"/api/auth/admin/users/{me.id}/act", headers=agent.headers) for _ in range(2)]
    assert [answer.status_code for answer in acts] == [200, 200]
    assert len(emitted("audit.compliance.alert")) == 1, "once, not at every further look"


def test_the_first_admin_is_made_by_a_command(app, client: FlaskClient) -> None:
    run = app.test_cli_runner().invoke
    args = ["create-user", "--role", "admin", "--phone", "0779999999", "--name", "Amara"]
    weak = run(args=[*args, "--password", "password123"])
    assert weak.exit_code == 1
    assert "common" in weak.output
    assert run(args=[*args, "--password", "a fine long one"]).output.startswith("made admin")
    assert "has an account" in run(args=[*args, "--password", "a fine long one"]).output
    assert login(client, "a fine long one", "0779999999").json["user"]["roles"] == ["admin"]
