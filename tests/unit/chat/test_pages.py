"""The static pages."""

import re

import pytest
from flask.testing import FlaskClient

from chat.routes.pages import FOLDER

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""
OWN_SCRIPTS = [path for path in sorted(FOLDER.glob("*.js")) if not path.name.startswith("socket.io")]


@on_sqlite
@pytest.mark.parametrize("page", ["client", "console"])
def test_a_page_and_all_that_it_is_made_of_come_from_here_with_a_strict_policy(
    client: FlaskClient, page: str
) -> None:
    with client.get(f"/api/chat/{page}/") as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        html = answer.text
    fonts = re.findall(r'url\("([^"]+)"\)', (FOLDER / "care.css").read_text())
    imported = [name for path in OWN_SCRIPTS for name in re.findall(r'from "\./([^"]+)"', path.read_text())]
    for name in {*re.findall(r'(?:src|href)="([^"]+)"', html), *fonts, *imported}:
        with client.get(f"/api/chat/{page}/{name}") as part:
            assert part.status_code == 200, name
            assert "script-src 'self';" in part.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?! type=\"module\" src)|style=|\son\w+=", html)


@on_sqlite
@pytest.mark.parametrize("name", ["nothing.js", "..%2fconfig.py", "%2e%2e/config.py", "..", "x%00y"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/api/chat/client/{name}").status_code in (404, 422)


def test_scripts_never_parse_markup_and_load_nothing_from_elsewhere() -> None:
    for path in OWN_SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", path.read_text())
        assert not re.search(r"https?://", path.read_text()), path
    assert (FOLDER / "socket.io.LICENSE.txt").exists()


def test_every_text_has_three_languages_and_every_named_text_exists() -> None:
    texts = dict(re.findall(r"^  (\w+): \[(.*)\],$", (FOLDER / "texts.js").read_text(), re.M))
    for name, line in texts.items():
        assert len(re.findall(r'"[^"]+"', line)) == 3, name
    used = set()
    for path in (*FOLDER.glob("*.html"), *OWN_SCRIPTS):
        used |= set(re.findall(r'(?:data-(?:text|label|hint|title)=|\bsay\()"(\w+)"', path.read_text()))
    assert used <= set(texts)
