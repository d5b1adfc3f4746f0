"""Flow 7 of the contract: a forgotten password, on a platform of real processes."""

import json
import re

import httpx
import pytest

from tests.support.customer import PASSWORD, Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

NEW = "another good password"
EVERYWHERE = (
    "/api/auth/me",
    "/api/billing/account",
    "/api/payment/wallet",
    "/api/provisioning/services",
    "/api/notifications",
    "/api/chat/conversations",
)


def code_sent_to(platform: Platform, phone: str) -> str | None:
    """The code in the newest message to a number that the SMS sink has."""
    for path in sorted((platform.home.path / "sms").glob("*"), reverse=True):
        text = path.read_text(encoding="utf-8")
        found = re.search(r"\b(\d{6}) is your code for a new password", text)
        if phone in text and found:
            return found[1]
    return None


def test_flow_7_a_reset_by_the_code_from_the_sms_ends_every_old_session_everywhere(
    platform: Platform,
) -> None:
    with Customer(platform.url) as customer:
        eventually(lambda: customer.get("/api/billing/account").status_code == 200, within=5)
        before = {path: customer.get(path).status_code for path in EVERYWHERE}
        assert set(before.values()) == {200}, before

        def post(path: str, body: dict[str, str]) -> httpx.Response:
            return httpx.post(
                f"{platform.url}/api/auth/{path}", json={"phone": customer.phone} | body, timeout=15
            )

        assert post("password/forgot", {}).status_code == 202
        code = eventually(lambda: code_sent_to(platform, customer.phone), within=5)
        assert post("password/reset", {"code": code, "new_password": NEW}).status_code == 204
        for path in EVERYWHERE:
            eventually(lambda path=path: customer.get(path).status_code == 401, within=2)
        refreshed = httpx.post(
            f"{platform.url}/api/auth/refresh", json={"refresh_token": customer.tokens["refresh_token"]}
        )
        assert refreshed.status_code == 401
        assert post("login", {"password": PASSWORD}).status_code == 401
        again = post("login", {"password": NEW})
        assert again.status_code == 200
        headers = {"Authorization": f"Bearer {again.json()['access_token']}"}
        inbox = eventually(
            lambda: [
                item
                for item in httpx.get(f"{platform.url}/api/notifications", headers=headers).json()["items"]
                if item["event_type"] == "user.password.changed"
            ],
            within=5,
        )
        assert code not in json.dumps(inbox)
    logs = "".join(path.read_text(errors="replace") for path in (platform.home.path / "log").glob("auth*"))
    assert code not in logs
