"""Which RabbitMQ is used: the one that lets us in, else an installed one, else one that is installed now."""

import os
from pathlib import Path

import pytest

from dev import broker
from dev.broker import LOCAL_URL
from dev.terminal import Trouble

WISHED = "amqp://care:secret@rabbit.example:5672/"


def _only(monkeypatch: pytest.MonkeyPatch, *reachable: str) -> None:
    monkeypatch.setattr(broker, "refusal", lambda url: None if url in reachable else "does not answer")


def test_the_wished_broker_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", WISHED)
    _only(monkeypatch, WISHED, LOCAL_URL)
    assert broker.reachable_url() == WISHED


def test_a_wished_broker_that_is_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", WISHED)
    _only(monkeypatch, LOCAL_URL)
    assert broker.reachable_url() == LOCAL_URL
    said = capsys.readouterr().out
    assert "amqp://care:***@rabbit.example:5672/ does not answer" in said
    assert "secret" not in said


def test_none_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    _only(monkeypatch)
    assert broker.reachable_url() is None


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where we are root, nothing is installed, and apt-get does what the test writes into this file."""
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(broker, "INSTALLED_AT", (str(tmp_path / "server"),))
    return program


def test_a_missing_server_is_installed_from_the_systems_packages(tmp_path: Path, apt_get: Path) -> None:
    server = tmp_path / "server"
    apt_get.write_text(f'#!/bin/sh\n[ "$*" = "-qq update" ] || {{ touch {server}; chmod +x {server}; }}\n')
    apt_get.chmod(0o755)
    assert broker.find_server() == server


def test_a_failed_installation_is_one_clear_line(apt_get: Path) -> None:
    apt_get.write_text("#!/bin/sh\nexit 100\n")
    apt_get.chmod(0o755)
    with pytest.raises(Trouble, match="install it by hand, or set RABBITMQ_URL"):
        broker.find_server()
