"""Each process is told the same truth, and a developer's own variables win over the defaults."""

from pathlib import Path

import pytest

from dev.environment import Layout
from dev.platform import reason
from dev.terminal import Trouble


def test_defaults_are_one_machine_on_sqlite(tmp_path: Path) -> None:
    environment = Layout.from_env({"SRICARE_HOME": str(tmp_path)}).service_environment(
        "billing", "amqp://broker/"
    )
    assert environment["BILLING_DATABASE_URL"] == f"sqlite:///{tmp_path}/data/billing.sqlite3"
    assert environment["BILLING_PORT"] == "3002"
    assert environment["RABBITMQ_URL"] == "amqp://broker/"
    assert environment["JWKS_URL"] == "http://127.0.0.1:3001/api/auth/.well-known/jwks.json"
    assert environment["SRICARE_ENV"] == "development"


def test_the_developers_variables_win(tmp_path: Path) -> None:
    wishes = {
        "SRICARE_HOME": str(tmp_path),
        "AUTH_PORT": "4001",
        "BILLING_DATABASE_URL": "postgresql://localhost/billing",
        "LOG_LEVEL": "DEBUG",
    }
    environment = Layout.from_env(wishes).service_environment("billing", "amqp://broker/")
    assert environment["BILLING_DATABASE_URL"] == "postgresql://localhost/billing"
    assert environment["JWKS_URL"].startswith("http://127.0.0.1:4001/")
    assert environment["LOG_LEVEL"] == "DEBUG"


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", "80.5"])
def test_a_port_that_is_none_is_named(value: str) -> None:
    with pytest.raises(Trouble, match=f"CHAT_PORT={value}"):
        Layout.from_env({"CHAT_PORT": value})


def test_further_chat_processes_get_ports_of_their_own() -> None:
    layout = Layout.from_env({"CHAT_PROCESSES": "3"})
    assert layout.upstreams("chat")[0] == 3006
    assert len(set(layout.upstreams("chat"))) == 3
    assert layout.upstreams("auth") == (3001,)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Traceback\nImportError: no name X\n\nError: No such command 'db'.\n", "ImportError: no name X"),
        (
            "common.settings.SettingsError: BILLING_PORT is not set\n",
            "common.settings.SettingsError: BILLING_PORT is not set",
        ),
        ("working\nstopping\n", "stopping"),
        ("", "it said nothing"),
    ],
)
def test_the_reason_of_an_end_is_what_the_program_named(tmp_path: Path, said: str, shown: str) -> None:
    log = tmp_path / "x.log"
    log.write_text(said)
    assert reason(log) == shown
