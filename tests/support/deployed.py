"""A platform that runs already, for the end-to-end tests that do not need one of their own.

`SRICARE_TEST_URL=http://localhost:8000 pytest tests/e2e/test_flows.py tests/chaos tests/browser`, with SRICARE_HOME
where the demo's logins are. What needs more than HTTP is skipped, unless the platform runs in this machine's containers
(docker-compose.yaml, or what COMPOSE_FILE names): then their processes can be killed and their logs read.
"""

import json
import os
import signal
import subprocess
from typing import NoReturn

import pytest

from dev import containers
from dev.environment import PORTS, ROOT, Home
from dev.ports import LOOPBACK
from dev.seed import Person, read_people
from tests.support.eventually import eventually

VARIABLE = "SRICARE_TEST_URL"
GATEWAYS = ("kong", "gateway")  # deploy/compose.caddy.yaml has the second one
READ_SMS = """import json, pathlib
print(json.dumps([file.read_text() for file in sorted(pathlib.Path("/data/sms").glob("*"))]))"""


class Deployed:
    """Stands for `tests.support.platform.Platform`. What only processes at hand can show is skipped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.home = Home.from_env(os.environ)
        self.ports = PORTS

    @property
    def people(self) -> dict[str, Person]:
        return read_people(self.home)

    def service_url(self, service: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[service]}"

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"needs {name} of a platform whose processes are at hand")


class Containers(Deployed):
    """The platform in containers of this machine."""

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a container (`billing-worker`, `chat-web-2`, `gateway`), and start it again."""
        container = self._container(name)
        _docker("kill", "--signal", number.name, container)
        _docker("start", container)

    def wait_ready(self, within: float = 60) -> None:
        """Wait until every container is healthy."""
        eventually(lambda: not self._unwell(), within=within)

    def stop_broker(self) -> None:
        _docker("compose", "stop", "rabbitmq")

    def start_broker(self) -> None:
        _docker("compose", "up", "--detach", "--no-deps", "--wait", "rabbitmq")

    def log(self, name: str, characters: int = 2000) -> str:
        """The end of what a container printed."""
        return _docker("compose", "logs", "--no-log-prefix", "--tail", "2000", name)[-characters:]

    def sms(self) -> list[str]:
        """The text messages in the sink, oldest first."""
        texts: list[str] = json.loads(
            _docker("compose", "exec", "-T", "notification-web", "python", "-c", READ_SMS)
        )
        return texts

    def service_url(self, service: str) -> str:
        return "http://" + _docker("compose", "port", f"{service}-web", str(self.ports[service])).strip()

    def _container(self, name: str) -> str:
        """The id of one container of a service; `chat-web-2` is the second one if there are several."""
        service, _, index = name.partition("-web-")
        service += "-web" if index else ""
        asked = GATEWAYS if service == "gateway" else (service,)
        (found,) = set(_docker("compose", "ps", "--services").split()).intersection(asked)
        ids = _docker("compose", "ps", "--quiet", found).split()
        return ids[(int(index or 1) - 1) % len(ids)]

    def _unwell(self) -> list[str]:
        lines = _docker("compose", "ps", "--format", "{{.Name}} {{.Health}}").splitlines()
        return [line for line in lines if not line.endswith(" healthy")]


def find() -> Deployed | None:
    """The platform that SRICARE_TEST_URL names."""
    url = os.environ.get(VARIABLE)
    if not url:
        return None
    return Containers(url) if containers.are_running() else Deployed(url)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
