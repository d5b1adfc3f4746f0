"""`make up` and `make down` on real services; `make demo` is among the flows."""

from pathlib import Path

import psutil
import pytest

from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

pytestmark = pytest.mark.platform

LEFT_OUT = [
    f"{service}-{kind}"
    for service in ("payment", "provisioning", "notification", "chat")
    for kind in ("web", "worker")
]


def _processes_of(home: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("SRICARE_HOME") == str(home)
    ]


def test_going_down_ends_every_process_and_coming_up_again_keeps_the_data() -> None:
    with Platform(without=LEFT_OUT) as platform:
        assert {name for name in ("auth-web", "billing-worker", "chat-web") if platform.pids(name)} == {
            "auth-web",
            "billing-worker",
        }
        with Customer(platform.url) as customer:
            account = "/api/billing/account"
            eventually(lambda: customer.get(account).status_code == 200)
            number = customer.get(account).json()["number"]

            platform.down()
            assert _processes_of(platform.home.path) == []

            platform.up()
            assert customer.get("/api/auth/me").json()["id"] == customer.id
            assert customer.get(account).json()["number"] == number
    assert not platform.home.path.exists()
