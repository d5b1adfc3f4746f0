"""`/health`: what it says of the processes beside the web."""

from flask.testing import FlaskClient

from common import clock
from common.db import transaction
from common.db.tables import Heartbeat
from tests.support.messaging.house import ON_SQLITE


@ON_SQLITE
def test_a_relay_is_shown_and_takes_no_workers_place(client: FlaskClient) -> None:
    def beat(name: str) -> dict[str, object]:
        with transaction() as session:
            session.add(Heartbeat(name=name, beaten_at=clock.now(), broker_connected=True))
        found: dict[str, object] = client.get("/health").json["dependencies"]["workers"]
        return found

    alone = beat("auth.relay")
    assert (alone["status"], alone["alive"]) == ("down", ["auth.relay"])
    assert beat("auth.worker")["status"] == "ok"
