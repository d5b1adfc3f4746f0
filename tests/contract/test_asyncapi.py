"""The AsyncAPI document in the tree is made from today's contracts and is whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from common import contracts
from common.contracts import asyncapi
from tests.support.messaging.house import published


def test_the_file_is_current() -> None:
    assert asyncapi.FILE.read_bytes() == asyncapi.text(), "run: python -m common.contracts.asyncapi"
    assert asyncapi.main(["--check"]) == 0


def test_every_event_and_every_queue_is_in_it_and_every_reference_leads_somewhere() -> None:
    document = json.loads(asyncapi.FILE.read_bytes())
    assert set(document["channels"]) == set(contracts.event_types()) | set(contracts.queues())
    sent = {op["channel"]["$ref"] for op in document["operations"].values() if op["action"] == "send"}
    assert sent == {f"#/channels/{event_type}" for event_type in contracts.event_types()}
    for reference in references(document):
        assert found(document, reference) is not None, reference


def test_a_schema_that_refers_to_itself_still_does(tmp_path: Path) -> None:
    folder = tmp_path / "events" / "shop"
    folder.mkdir(parents=True)
    money = {"type": "object", "properties": {"amount_minor": {"type": "integer"}}}
    schema = {
        "properties": {"total": {"$ref": "#/$defs/money"}, "items": {"items": {"$ref": "#/$defs/money"}}}
    }
    (folder / "thing.sold.json").write_bytes(
        orjson.dumps({"$schema": "x", "$defs": {"money": money}} | schema)
    )
    with published(tmp_path):
        document = asyncapi.document()
    for reference in references(document):
        assert found(document, reference) is not None, reference
    properties = document["components"]["schemas"]["thing.sold"]["properties"]
    assert found(document, properties["total"]["$ref"]) == money


@pytest.mark.parametrize("event_type", contracts.event_types())
def test_messages_name_their_producer_and_their_data(event_type: str) -> None:
    document = asyncapi.document()
    _, own = document["components"]["messages"][event_type]["payload"]["allOf"]
    assert own["properties"]["source"]["const"] == f"/{contracts.producer_of(event_type)}"
    data = found(document, own["properties"]["data"]["$ref"])
    assert data["properties"].keys() == contracts.schema_of(event_type)["properties"].keys()


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def found(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document.get(part) if isinstance(document, dict) else None
    return document
