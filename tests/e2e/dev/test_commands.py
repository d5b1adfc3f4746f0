"""What cannot be is said in one clear line on stderr, with exit code 1 and nothing left running."""

import asyncio
import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dev.environment import ROOT, SERVICES, Layout
from dev.platform import migrate
from dev.ports import free_ports
from dev.terminal import Trouble

NAMES = ("GATEWAY_PORT", *(f"{service.upper()}_PORT" for service in SERVICES))


def _run(command: str, home: Path, **variables: str) -> tuple[int, str]:
    ports = dict(zip(NAMES, map(str, free_ports(len(NAMES))), strict=True))
    done = subprocess.run(
        [sys.executable, "-m", f"dev.{command}"],
        cwd=ROOT,
        env={**os.environ, **ports, "SRICARE_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_port_in_use_is_named_with_its_owner(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = _run("up", tmp_path, BILLING_PORT=str(port))
    assert code == 1
    assert said.count("\n") == 1
    assert f"port {port} is in use" in said
    assert f"pid {os.getpid()}" in said
    assert "BILLING_PORT=" in said


def test_a_second_up_says_that_one_is_running(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = _run("up", tmp_path)
    assert (code, said) == (1, "sri-care: the platform is running already: `make down` stops it\n")


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = _run("up", tmp_path / "file" / "home")
    assert code == 1
    assert said == f"sri-care: cannot write to {tmp_path / 'file' / 'home'}: Not a directory\n"


def test_no_broker_and_no_right_to_install_one_is_one_line(tmp_path: Path) -> None:
    code = (
        "import dev.broker as b; from dev.terminal import run;"
        "b.reachable_url = lambda: None; b.installed_server = lambda: None; b.shutil.which = lambda _: None;"
        "run(b.find_server)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "apt-get install rabbitmq-server" in done.stderr


def test_down_with_nothing_running_is_fine(tmp_path: Path) -> None:
    assert _run("down", tmp_path) == (0, "")


def test_an_unsuitable_python_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    shutil.copy(ROOT / "dev" / "bootstrap", tmp_path / "dev")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    for name in ("python3.13", "python3.12", "python3.11"):
        (old.parent / name).symlink_to(old)
    path = f"{old.parent}:/usr/bin:/bin"
    done = subprocess.run(
        [tmp_path / "dev" / "bootstrap"], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11, 3.12 or 3.13; found Python 3.9.2" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_migration_that_fails_is_named_with_its_reason_and_the_others_are_made(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path}/nowhere/billing.sqlite3"
    layout = Layout.from_env({**os.environ, "SRICARE_HOME": str(tmp_path), "BILLING_DATABASE_URL": nowhere})
    layout.home.prepare()
    with pytest.raises(Trouble, match=r"the migration of billing failed: .*unable to open database file"):
        asyncio.run(migrate(layout, ("billing", "chat", "notification")))
    for service in ("chat", "notification"):
        with closing(sqlite3.connect(layout.home.data / f"{service}.sqlite3")) as database:
            assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
