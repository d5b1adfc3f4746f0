"""The in-app inbox over HTTP."""

import pytest
from flask.testing import FlaskClient

from common import ids
from tests.support.notifications import a_customer, tell
from tests.support.services import bearer

URL = "/api/notifications"


def test_pages_are_newest_first_and_miss_nothing_while_new_ones_arrive(client: FlaskClient) -> None:
    user_id = a_customer()
    events = [tell("invoice.paid", user_id, number=f"INV-2026-{n:06}") for n in range(5)]
    first = client.get(URL, query_string={"limit": 4}, headers=bearer(user_id)).json
    tell("invoice.paid", user_id, number="INV-2026-000099")
    rest = client.get(URL, query_string={"cursor": first["next_cursor"]}, headers=bearer(user_id)).json
    numbers = [item["data"].get("number") for item in first["items"] + rest["items"]]
    assert numbers == [event.data["number"] for event in reversed(events)] + [None]
    assert rest["next_cursor"] is None


def test_an_item_is_what_the_contract_says(client: FlaskClient) -> None:
    user_id = a_customer()
    (item,) = client.get(URL, headers=bearer(user_id)).json["items"]
    assert set(item) == {"id", "event_type", "title", "body", "language", "read_at", "created_at", "data"}
    assert ids.is_id(item["id"])
    assert item["created_at"].endswith("Z")


def test_reading_counts_once_and_leaves_the_unread_list(client: FlaskClient) -> None:
    user_id = a_customer()
    tell("invoice.paid", user_id)
    headers = bearer(user_id)
    newest = client.get(URL, headers=headers).json["items"][0]
    first = client.post(f"{URL}/{newest['id']}/read", headers=headers)
    again = client.post(f"{URL}/{newest['id']}/read", headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.json["read_at"] == again.json["read_at"] is not None
    unread = client.get(URL, query_string={"unread": "true"}, headers=headers).json["items"]
    assert [item["event_type"] for item in unread] == ["user.created"]
    assert client.get(f"{URL}/unread-count", headers=headers).json == {"unread": 1}


def test_reading_all_reads_only_ones_own(client: FlaskClient) -> None:
    mine, theirs = a_customer(), a_customer()
    tell("invoice.paid", mine)
    assert client.post(f"{URL}/read-all", headers=bearer(mine)).json == {"read": 2}
    assert client.post(f"{URL}/read-all", headers=bearer(mine)).json == {"read": 0}
    assert client.get(f"{URL}/unread-count", headers=bearer(mine)).json == {"unread": 0}
    assert client.get(f"{URL}/unread-count", headers=bearer(theirs)).json == {"unread": 1}


def test_a_deleted_notification_is_gone_for_good(client: FlaskClient) -> None:
    user_id = a_customer()
    headers = bearer(user_id)
    (item,) = client.get(URL, headers=headers).json["items"]
    assert client.delete(f"{URL}/{item['id']}", headers=headers).status_code == 204
    assert client.delete(f"{URL}/{item['id']}", headers=headers).status_code == 404
    assert client.post(f"{URL}/{item['id']}/read", headers=headers).status_code == 404
    assert client.get(URL, headers=headers).json["items"] == []
    assert client.get(f"{URL}/unread-count", headers=headers).json == {"unread": 0}


def test_anothers_notification_does_not_exist(client: FlaskClient) -> None:
    owner, other = a_customer(), a_customer()
    (item,) = client.get(URL, headers=bearer(owner)).json["items"]
    assert client.post(f"{URL}/{item['id']}/read", headers=bearer(other)).status_code == 404
    assert client.delete(f"{URL}/{item['id']}", headers=bearer(other)).status_code == 404
    (unchanged,) = client.get(URL, headers=bearer(owner)).json["items"]
    assert unchanged == item


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "x"},
        {"cursor": "A" * 201},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "ten"},
        {"unread": "perhaps"},
        {"user_id": "someone"},
    ],
)
def test_a_bad_query_is_refused(client: FlaskClient, query: dict[str, str]) -> None:
    answer = client.get(URL, query_string=query, headers=bearer())
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/unread-count"),
        ("POST", f"/{ids.new_id()}/read"),
        ("POST", "/read-all"),
        ("DELETE", f"/{ids.new_id()}"),
    ],
)
def test_without_a_token_there_is_no_inbox(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(URL + path, method=method)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/not-an-id/read", "/%00/read", f"/{ids.new_id()}/read"])
def test_an_unknown_notification_is_404(client: FlaskClient, path: str) -> None:
    assert client.post(URL + path, headers=bearer()).status_code == 404
