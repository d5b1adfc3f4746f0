"""The operator's command: dead messages are listed without being touched, shown, sent back, thrown away."""

from pathlib import Path

import orjson
import pytest

from common import contracts
from common.messaging import letters
from common.messaging.__main__ import _parse, main
from tests.support.eventually import eventually
from tests.support.messaging.house import ON_SQLITE, House

pytestmark = [pytest.mark.broker, ON_SQLITE]


@pytest.fixture(autouse=True)
def _broker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", house.rabbitmq_url)
    house.declare()


@pytest.fixture
def dead(house: House) -> list[str]:
    """Three dead events, by id."""
    house.broken.touch()
    with house.worker():
        ids = house.emit(1, 2, 3, mood="broken")
        eventually(lambda: len(house.dead()) == 3, within=30)
    return ids


def test_a_list_tells_what_and_why_and_changes_nothing(
    house: House, dead: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(25):  # RabbitMQ 4 drops a message after 20 returns unless told otherwise
        assert main(["dead", "list", "--queue", house.queue]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 4
        assert lines[-1] == "3 dead"
    for event_id, line in zip(dead, lines, strict=False):
        assert f"queue={house.queue}" in line
        assert f"event_id={event_id}" in line
        assert "error=RuntimeError" in line
        assert "retries=4" in line
    assert len(house.dead()) == 3


def test_a_list_says_when_it_is_cut_short(
    house: House, dead: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dead", "list", "--limit", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 dead, 2 shown: use --limit or --queue"


def test_a_service_user_sees_its_own_queues_and_the_url_may_be_a_file(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in production: a secret's file, and a user who may read `<service>.…` only."""
    secret = tmp_path / "rabbitmq_url"
    monkeypatch.delenv("RABBITMQ_URL")
    monkeypatch.setenv("RABBITMQ_URL_FILE", str(secret))
    queues = [house.queue, "other.things"]
    with monkeypatch.context() as patch:
        patch.setattr(contracts, "queues", lambda: {queue: [] for queue in queues})
        for user, seen in ((house.name, [house.queue]), ("admin", queues)):
            secret.write_text(f"amqp://{user}:secret@127.0.0.1:9/\n")
            assert _parse(["dead", "list"]).queues == seen
    secret.unlink()
    with pytest.raises(SystemExit):
        main(["dead", "list"])
    assert "RABBITMQ_URL_FILE: cannot read" in capsys.readouterr().err


def test_one_is_shown_whole(house: House, dead: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead", "show", "--id", dead[1]]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    assert shown["message"]["data"] == {"n": 2, "mood": "broken"}
    assert shown["headers"][letters.ERROR] == "RuntimeError"
    assert len(house.dead()) == 3


def test_a_replay_after_the_fix_takes_effect_once(
    house: House, dead: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    house.broken.unlink()
    with house.worker():
        assert main(["dead", "replay", "--id", dead[0]]) == 0
        eventually(lambda: house.effects() == [1])
        assert main(["dead", "replay", "--all", "--queue", house.queue]) == 0
        eventually(lambda: house.effects() == [1, 2, 3])
    assert house.dead() == []
    assert capsys.readouterr().out.splitlines() == ["1 sent back", "2 sent back"]


def test_a_replay_without_a_fix_dies_again_and_counts(house: House, dead: list[str]) -> None:
    with house.worker():
        assert main(["dead", "replay", "--all", "--limit", "1"]) == 0
        eventually(lambda: len(house.dead()) == 3, within=30)
        eventually(lambda: sorted(h.get(letters.REPLAYS, 0) for h, _ in house.dead()) == [0, 0, 1], within=30)
    assert house.effects() == []


def test_dropping_is_for_good(house: House, dead: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead", "drop", "--id", dead[1]]) == 0
    assert sorted(orjson.loads(body)["data"]["n"] for _, body in house.dead()) == [1, 3]
    assert main(["dead", "drop", "--all"]) == 0
    assert house.dead() == []


def test_a_poison_message_that_is_no_document_can_be_handled_too(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    with house.worker():
        house.send(b"\xff not json")
        eventually(house.dead)
    assert main(["dead", "list"]) == 0
    assert "error=MalformedEvent" in capsys.readouterr().out
    assert main(["dead", "drop", "--all"]) == 0
    assert house.dead() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["dead", "replay"],
        ["dead", "drop"],
        ["dead", "show", "--all"],
        ["dead", "list", "--queue", "no.such"],
        ["dead", "list", "--limit", "0"],
        ["dead", "bury"],
        ["alive", "list"],
    ],
)
def test_wrong_usage_exits_2(house: House, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2


def test_an_unknown_event_and_a_broker_that_is_away_exit_1_with_a_line(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["dead", "drop", "--id", "none"]) == 1
    assert "no dead message with the event id none" in capsys.readouterr().err
    monkeypatch.setenv("RABBITMQ_URL", "amqp://guest:secret@127.0.0.1:9/")
    assert main(["dead", "list"]) == 1
    message = capsys.readouterr().err
    assert "cannot reach the broker" in message
    assert "secret" not in message
