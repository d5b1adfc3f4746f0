from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask_socketio import SocketIOTestClient

from tests.support.services import service_fixtures, token

database_url, app, client = service_fixtures("chat", bot="off")


class Phone:
    """A connected Socket.IO client of a user: `send` gives the acknowledgement, `heard` what came since."""

    def __init__(self, app: Flask, access_token: object) -> None:
        self._client: SocketIOTestClient = app.extensions["socketio"].test_client(
            app, namespace="/chat", auth={"token": access_token}
        )

    @property
    def connected(self) -> bool:
        return self._client.is_connected("/chat")

    def send(self, event: str, *payload: object) -> dict:
        return self._client.emit(event, *payload, namespace="/chat", callback=True)

    def join(self, conversation_id: str, **more: int) -> dict:
        answer = self.send("conversation:join", {"conversation_id": conversation_id, **more})
        assert answer["ok"], answer
        return answer

    def say(self, conversation_id: str, body: str, client_message_id: str) -> dict:
        wish = {"conversation_id": conversation_id, "client_message_id": client_message_id, "body": body}
        return self.send("message:send", wish)

    def heard(self, event: str | None = None) -> list[dict]:
        found = self._client.get_received("/chat")
        return [item["args"][0] for item in found if event in (None, item["name"])]

    def close(self) -> None:
        if self.connected:
            self._client.disconnect("/chat")


@pytest.fixture
def phone(app: Flask) -> Iterator[Callable[..., Phone]]:
    phones: list[Phone] = []

    def connect(
        user_id: str | None = None, *roles: str, access_token: object = None, at: Flask = app
    ) -> Phone:
        phones.append(Phone(at, access_token or token(user_id, *roles)))
        return phones[-1]

    yield connect
    for made in phones:
        made.close()
