"""`make up`, `make demo` and `make down` on the real services."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from dev.environment import ROOT
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


def _invoices(platform: Platform) -> list[str]:
    person = platform.people["customer"]
    login = {"phone": person.phone, "password": person.password}
    token = httpx.post(f"{platform.url}/api/auth/login", json=login).json()["access_token"]
    answer = httpx.get(f"{platform.url}/api/billing/invoices", headers={"Authorization": f"Bearer {token}"})
    return [invoice["id"] for invoice in answer.json()["items"]]


@pytest.mark.xdist_group("platform")
def test_the_demo_comes_to_its_end(platform: Platform) -> None:
    environment = {**os.environ, "SRICARE_HOME": str(platform.home.path), "PUBLIC_URL": platform.url}
    demo = subprocess.run(
        [sys.executable, "-m", "dev.demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "the service is active" in demo.stdout
    assert "told of the paid invoice" in demo.stdout


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
