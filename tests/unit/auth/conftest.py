from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from common.db import db
from tests.support.services import make_app, service_fixtures

database_url, app, client = service_fixtures("auth")


@pytest.fixture
def another(app: Flask, database_url: str, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Further processes of auth on the same database and keys, with settings of their own."""
    made: list[Flask] = []

    def make(**settings: Any) -> Flask:
        made.append(make_app("auth", database_url, tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        with each.app_context():
            db.engine.dispose()
