"""Auth on a database of its own. Hashes are cheap here, and the signing key is made once: making keys and hashes takes
most of the processor time otherwise. Tests that are about them set their own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth.keys import KeyRing
from common.db import db
from tests.support.services import make_app, service_fixtures

CHEAP = {"hash_time_cost": 1, "hash_memory_kib": 8192}
PATIENT = {"hash_wait_s": 60}
"""Waits that a busy machine does not reach."""

database_url, app, client = service_fixtures("auth", **CHEAP, **PATIENT)


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auth") / "keys"
    KeyRing(folder)
    return folder


@pytest.fixture(autouse=True)
def _keys_at_hand(request: pytest.FixtureRequest, made_keys: Path, tmp_path: Path) -> None:
    if "app" in request.fixturenames:
        shutil.copytree(made_keys, tmp_path / "keys")


@pytest.fixture
def another(app: Flask, database_url: str, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Further processes of auth on the same database and keys, with settings of their own."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        made.append(make_app("auth", database_url, tmp_path, **CHEAP | PATIENT | settings))
        return made[-1]

    yield make
    for each in made:
        with each.app_context():
            db.engine.dispose()
