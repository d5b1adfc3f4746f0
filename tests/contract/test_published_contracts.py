"""What is published fits what is built: routes, documents, gateway table, event schemas, queues and handlers."""

import atexit
import importlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from common import contracts
from common.web.operation import declared_operation
from dev.environment import ROOT, SERVICES
from dev.gateway import find_route, load_routes
from tests.support.services import make_app

OPERATIONS = ("/live", "/ready", "/health", "/metrics")
PREFIXES = {service: f"/api/{service}" for service in SERVICES} | {"notification": "/api/notifications"}
EMITTED = re.compile(r'"([a-z_]+(?:\.[a-z_]+)+)"')


@cache
def app_of(service: str) -> Flask:
    folder = Path(tempfile.mkdtemp(prefix="sri-care-contract-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_app(service, f"sqlite:///{folder / service}.sqlite3", folder)


def consumers_of(service: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Mapping[str, Any]]:
    """The queues that a service's worker consumes, as its `main` hands them to `run_worker`."""
    worker = importlib.import_module(f"{service}.worker")
    seen: dict[str, Mapping[str, Any]] = {}
    monkeypatch.setattr(worker, "create_app", lambda **_: app_of(service))
    monkeypatch.setattr(worker, "run_worker", lambda _app, consumers, jobs=(): seen.update(consumers))
    worker.main()
    return seen


def rules(service: str) -> list[tuple[str, str, Any]]:
    """(method, path with a sample id, view) of every API route of a service."""
    app = app_of(service)
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule in OPERATIONS:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            path = re.sub(r"<id:[^>]+>", "01890a5d-ac96-774b-bcce-b302099a8057", rule.rule)
            found.append((method, re.sub(r"<[^>]+>", "x", path), app.view_functions[rule.endpoint]))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_lies_under_the_services_prefix(service: str) -> None:
    for _, path, _ in rules(service):
        assert path == PREFIXES[service] or path.startswith(f"{PREFIXES[service]}/"), path


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_is_in_a_valid_openapi_document(service: str) -> None:
    app = app_of(service)
    document = json.loads(app.test_client().get(f"{PREFIXES[service]}/openapi.json").get_data())
    validate(document)
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    for rule in app.url_map.iter_rules():
        if rule.rule in OPERATIONS or declared_operation(app.view_functions[rule.endpoint]) is None:
            continue
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert (method, path) in documented
    for path, item in document["paths"].items():
        for method, entry in item.items():
            assert entry["summary"], path
            assert any(status.startswith("2") for status in entry["responses"]), (method, path)
            if entry.get("security"):
                assert "401" in entry["responses"], (method, path)


@pytest.mark.parametrize("service", SERVICES)
def test_only_documents_and_static_pages_are_undeclared(service: str) -> None:
    allowed = ("/openapi.json", "/apidocs", "/client", "/console")
    for method, path, view in rules(service):
        if declared_operation(view) is None:
            assert method == "GET", path
            assert path.removeprefix(PREFIXES[service]).startswith(allowed), path


@pytest.mark.parametrize("service", SERVICES)
def test_the_gateway_has_every_route_and_demands_a_token_exactly_where_the_service_does(service: str) -> None:
    table = load_routes()
    for method, path, view in rules(service):
        route = find_route(table, method, path)
        assert route is not None, f"{method} {path} is not in kong/kong.yaml"
        assert route.service == service, f"{method} {path} goes to {route.service}"
        declared = declared_operation(view)
        public = declared is None or declared.roles is None
        assert ("jwt" in route.plugins) != public, (
            f"{method} {path}: public={public}, gateway {sorted(route.plugins)}"
        )


def test_the_gateway_leads_to_no_operations_endpoint() -> None:
    table = load_routes()
    for path in OPERATIONS:
        assert find_route(table, "GET", path) is None


@pytest.mark.parametrize("service", SERVICES)
def test_every_event_that_a_service_emits_has_its_schema_and_the_other_way_round(service: str) -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / service).rglob("events*.py")))
    emitted = set(EMITTED.findall(source))
    published = {kind for kind in contracts.event_types() if contracts.producer_of(kind) == service}
    assert emitted == published


@pytest.mark.parametrize("event_type", contracts.event_types())
def test_schemas_are_schemas_and_only_ever_allow_more(event_type: str) -> None:
    import jsonschema

    schema = contracts.schema_of(event_type)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    assert schema["title"] == event_type
    assert schema.get("description"), "say what happened"
    assert schema.get("additionalProperties", True) is not False, "changes only add"


@pytest.mark.parametrize("event_type", contracts.event_types())
def test_every_event_has_a_bound_queue(event_type: str) -> None:
    exchange = contracts.exchange_of(contracts.producer_of(event_type))
    bound = [
        queue
        for queue in contracts.queues()
        if (exchange, event_type) in contracts.bindings(queue) or (exchange, "#") in contracts.bindings(queue)
    ]
    assert bound


@pytest.mark.parametrize("service", SERVICES)
def test_every_queue_has_a_consumer_with_a_handler_for_exactly_what_is_bound(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = {
        queue: set(types) for queue, types in contracts.queues().items() if queue.startswith(f"{service}.")
    }
    consumed = {queue: set(handlers) for queue, handlers in consumers_of(service, monkeypatch).items()}
    assert consumed == published


@pytest.mark.parametrize("service", SERVICES)
def test_revocations_reach_every_service_but_their_source(service: str) -> None:
    bound = {
        kind
        for queue, types in contracts.queues().items()
        if queue.startswith(f"{service}.")
        for kind in types
    }
    assert service == "auth" or {"session.revoked", "user.deactivated"} <= bound
