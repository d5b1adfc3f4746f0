"""`make up` and `make down` on real services; `make demo` is among the flows."""

from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.platform import Platform

pytestmark = pytest.mark.platform

LEFT_OUT = [
    f"{service}-{kind}" for service in ("payment", "notification", "chat") for kind in ("web", "worker")
]


def _processes_of(home: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("SRICARE_HOME") == str(home)
    ]


def _invoices(platform: Platform) -> list[str]:
    person = platform.people["customer"]
    login = {"phone": person.phone, "password": person.password}
    token = httpx.post(f"{platform.url}/api/auth/login", json=login).json()["access_token"]
    answer = httpx.get(f"{platform.url}/api/billing/invoices", headers={"Authorization": f"Bearer {token}"})
    return [invoice["id"] for invoice in answer.json()["items"]]


def test_going_down_ends_every_process_and_coming_up_again_keeps_the_data() -> None:
    with Platform(seed=True, without=LEFT_OUT) as platform:
        assert {name for name in ("auth-web", "billing-worker", "chat-web") if platform.pids(name)} == {
            "auth-web",
            "billing-worker",
        }
        people, invoices = platform.people, _invoices(platform)
        assert len(invoices) == 1

        platform.down()
        assert _processes_of(platform.home.path) == []

        platform.up()
        assert platform.people == people
        assert _invoices(platform) == invoices
    assert not platform.home.path.exists()
