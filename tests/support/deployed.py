"""A platform that runs already, for the end-to-end tests that need no more of it than HTTP.

`SRICARE_TEST_URL=http://localhost:8000 pytest tests/e2e/test_flows.py`, with SRICARE_HOME where the demo's logins are.
"""

import os
from typing import NoReturn

import pytest

from dev.environment import PORTS, Home
from dev.ports import LOOPBACK
from dev.seed import Person, read_people

VARIABLE = "SRICARE_TEST_URL"


class Deployed:
    """Stands for `tests.support.platform.Platform`. What only its own processes can show is skipped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ports = PORTS

    @property
    def people(self) -> dict[str, Person]:
        return read_people(Home.from_env(os.environ))

    def service_url(self, service: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[service]}"

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"needs {name} of a platform that the test itself started")
