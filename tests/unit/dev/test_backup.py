"""A backup of one machine's platform is whole, taken while it runs, and comes back as it was."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dev.environment import ROOT, SERVICES

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "var"
    (home / "data").mkdir(parents=True)
    (home / "keys").mkdir()
    (home / "keys" / "1.pem").write_text("a key")
    for service in SERVICES:
        with closing(_open(home, service)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE entries (amount_minor INTEGER NOT NULL)")
            database.execute("INSERT INTO entries VALUES (1), (-1)")
            database.execute("CREATE TABLE outbox (id INTEGER, published_at DATETIME)")
            database.execute(
                "INSERT INTO outbox VALUES (1, datetime('now', '-2 hours')), (2, datetime('now', '-1 minute'))"
            )
    return home


@pytest.fixture
def script(home: Path) -> Script:
    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "deploy" / name, "--sqlite", *arguments],
            env={**os.environ, "SRICARE_HOME": str(home), "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_what_was_committed_before_the_backup_comes_back_and_nothing_else(
    home: Path, script: Script, tmp_path: Path
) -> None:
    with closing(_open(home, "billing")) as writer:
        writer.execute("INSERT INTO entries VALUES (5), (-5)")  # lies in the write-ahead log
        backup = script("backup", str(tmp_path / "backups"))
        assert backup.returncode == 0, backup.stderr
        writer.execute("INSERT INTO entries VALUES (7)")
    for service in SERVICES:
        (home / "data" / f"{service}.sqlite3").write_bytes(b"destroyed")
    (home / "keys" / "1.pem").unlink()
    restored = script("restore", backup.stdout.strip())
    assert restored.returncode == 0, restored.stderr
    with closing(_open(home, "billing")) as database:
        assert database.execute("SELECT count(*), sum(amount_minor) FROM entries").fetchone() == (4, 0)
    assert (home / "keys" / "1.pem").read_text() == "a key"


def test_what_the_broker_may_have_lost_is_published_again(home: Path, script: Script, tmp_path: Path) -> None:
    backup = script("backup", str(tmp_path / "backups")).stdout.strip()
    assert script("restore", backup).returncode == 0
    for service in SERVICES:
        with closing(_open(home, service)) as database:
            assert database.execute("SELECT id FROM outbox WHERE published_at IS NULL").fetchall() == [(2,)]


def test_a_damaged_backup_is_refused_before_anything_is_touched(
    home: Path, script: Script, tmp_path: Path
) -> None:
    backup = Path(script("backup", str(tmp_path / "backups")).stdout.strip())
    (backup / "auth.sqlite3").write_bytes(b"damaged")
    assert script("restore", str(backup)).returncode != 0
    with closing(_open(home, "auth")) as database:
        assert database.execute("SELECT count(*) FROM entries").fetchone() == (2,)


def test_a_running_platform_is_not_overwritten(home: Path, script: Script, tmp_path: Path) -> None:
    backup = script("backup", str(tmp_path / "backups")).stdout.strip()
    (home / "run").mkdir()
    (home / "run" / "supervisor.pid").write_text(f"{os.getpid()} 12345\n")
    refused = script("restore", backup)
    assert refused.returncode == 1
    assert "make down" in refused.stderr


def _open(home: Path, service: str) -> sqlite3.Connection:
    return sqlite3.connect(home / "data" / f"{service}.sqlite3", isolation_level=None)
