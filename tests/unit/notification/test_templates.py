"""Texts that staff change: versions, preview, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from common import contracts
from notification import rendering, templating
from notification.handlers import HANDLERS, TOLD_TO_CUSTOMERS
from notification.models import Language
from notification.worker import use_changed_texts
from tests.support.notifications import a_customer, tell
from tests.support.services import bearer

URL = "/api/notifications"
PATH = f"{URL}/admin/templates/invoice.paid/en/in_app"


@pytest.fixture(autouse=True)
def shipped() -> Iterator[None]:
    yield
    rendering.use_changed({})


def write(client: FlaskClient, body: str, title: str = "Paid") -> Any:
    return client.put(PATH, json={"title": title, "body": body}, headers=bearer(None, "admin"))


def test_a_new_version_is_what_customers_read_from_then_on(client: FlaskClient) -> None:
    user_id = a_customer()
    shown = client.get(PATH, headers=bearer(None, "admin")).json
    assert (shown["version"], shown["code"]) == (0, "invoice.paid")
    assert write(client, "Thank you for {{ total | money }}.").json["version"] == 1
    assert write(client, "Thanks, {{ name }}: {{ total | money }}.").json["version"] == 2
    use_changed_texts()
    tell("invoice.paid", user_id)
    newest = client.get(URL, headers=bearer(user_id)).json["items"][0]
    assert newest["body"] == "Thanks, Nimali Perera: Rs. 3,450.50."
    assert client.get(PATH, headers=bearer(None, "admin")).json["version"] == 2


TRICKS = [
    "{% for a in range(10**9) %}{% for b in range(10**9) %}x{% endfor %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ 9 ** 999999999 }}",
    "{{ range(100000) | list }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ name.__class__ }}",
    "{{ name['__class__'] }}",
    "{{ name.format(name) }}",
    "{{ cycler('a') }}",
    "{{ self }}",
    "{{ missing }}",
    "{{ total.missing }}",
    "{{ number | money }}",
    "{{ number | pprint }}",
    "{% include 'email.toml' %}",
    "{% macro x() %}{{ x() }}{% endmacro %}{{ x() }}",
    "{% set a = 1 %}{{ a }}",
    "{{ number",
    "{% if number %}",
    "{% if name %}" * 200 + "x" + "{% endif %}" * 200,
    "{{ " + "(" * 2400 + "name" + ")" * 2400 + " }}",
    "{{ name" + "|upper" * 800 + " }}",
    "{{ " + "{'a':" * 600 + "1" + "}" * 600 + " }}",
    "{{ name" + "['a']" * 900 + " }}",
    "{{ " + "name if name else " * 250 + "name }}",
]


def test_a_text_that_tricks_loops_or_lacks_is_refused_at_once(client: FlaskClient) -> None:
    for source in TRICKS:
        answer = write(client, source)  # what would be run would never end
        assert (answer.status_code, answer.json["code"]) == (422, "text_not_usable"), answer.text
        assert answer.json["errors"][0]["field"] == "body"
        assert client.get(PATH, headers=bearer(None, "admin")).json["version"] == 0


def test_100_kb_are_no_text(client: FlaskClient) -> None:
    for body, title in (("x" * 100_000, "Paid"), ("{{ name }}" * 10_000, "Paid"), ("x", "x" * 100_000)):
        answer = write(client, body, title)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert client.get(PATH, headers=bearer(None, "admin")).json["version"] == 0


def test_a_preview_shows_words_and_what_an_sms_costs(client: FlaskClient) -> None:
    path = f"{URL}/admin/templates/service.activated/si/sms/preview"
    answer = client.post(path, json={"body": "ක්‍රියාත්මකයි " * 8}, headers=bearer(None, "admin"))
    assert (answer.status_code, answer.json["encoding"], answer.json["parts"]) == (200, "ucs2", 2)
    english = path.replace("/si/", "/en/")
    body = {
        "body": "{{ offering_name }} is active.{% if expires_at %} Until {{ expires_at | day }}.{% endif %}"
    }
    answer = client.post(english, json=body, headers=bearer(None, "admin")).json
    assert (answer["encoding"], answer["parts"]) == ("gsm7", 1)
    assert "Until 21 November 2026" in answer["body"]


def test_staff_see_what_is_told_by_which_channel_and_why_not_by_the_others(client: FlaskClient) -> None:
    answer = client.get(f"{URL}/admin/templates", headers=bearer(None, "admin"))
    found = {each["code"]: each for each in answer.json["items"]}
    assert set(found) == {"user.created", *TOLD_TO_CUSTOMERS}
    assert found["invoice.overdue"]["channels"] == ["email", "in_app", "sms"]
    assert (found["invoice.overdue"]["category"], found["invoice.overdue"]["left_out"]) == ("statutory", {})
    assert list(found["order.created"]["left_out"]) == ["sms"]
    assert client.get(f"{URL}/admin/templates", headers=bearer(None, "agent")).status_code == 403


@pytest.mark.parametrize("path", ["nonsense/en/sms", "invoice.paid/fr/in_app", "invoice.paid/en/sms"])
def test_a_text_that_nobody_is_sent_does_not_exist(client: FlaskClient, path: str) -> None:
    answer = client.get(f"{URL}/admin/templates/{path}", headers=bearer(None, "admin"))
    assert answer.status_code == 404


def test_texts_are_for_admins(client: FlaskClient) -> None:
    assert client.get(PATH, headers=bearer()).status_code == 403
    assert client.get(PATH, headers=bearer(None, "agent")).status_code == 403


@pytest.mark.parametrize(
    "event_type", sorted(set(rendering.texts()) & set(contracts.event_types()) & set(HANDLERS))
)
def test_what_is_shipped_would_be_accepted(event_type: str) -> None:
    for language in Language:
        for parts in rendering.texts()[event_type][language.value].values():
            for source in parts.values():
                assert templating.refusal_of(event_type, language, source) is None, source
