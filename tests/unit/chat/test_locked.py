"""The database is locked for longer than anybody waits."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chat.models import Conversation
from common import ids
from common.db import transaction
from tests.support.services import bearer, service_fixtures

database_url, app, client = service_fixtures("chat", bot="off", lock_timeout_s=0.1)
NIMALI, AGENT = ids.new_id(), ids.new_id()


@pytest.mark.parametrize(("who", "role"), [(NIMALI, "customer"), (AGENT, "agent")], ids=["customer", "agent"])
def test_who_writes_meanwhile_is_refused_and_stays_connected(
    app: Flask, client: FlaskClient, phone: Callable, who: str, role: str
) -> None:
    opened = client.post("/api/chat/conversations", json={}, headers=bearer(NIMALI)).json["id"]
    one = phone(who, role)
    one.join(opened)
    with transaction() as session:
        session.get(Conversation, opened, with_for_update=True)
        refused = one.say(opened, "hello", "1")
        read = one.send("conversation:join", {"conversation_id": opened})
    assert (refused["ok"], refused["code"]) == (False, "database_unavailable")
    assert read["ok"], "who only reads does not wait"
    assert one.connected
    assert one.say(opened, "hello", "1")["message"]["seq"] == 1
