"""What Kong gets follows Kong's rules, is filled in from the environment, and has the right plugins on each path.

There is no Kong here: the fields of each entity are those of Kong 3.9's published schemas, as far as they are used. The
integration workflow imports the same file into a real one.
"""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.web.frame import SECURITY_HEADERS
from dev.environment import ROOT, SERVICES
from dev.gateway import KONG_FILE, find_route, load_routes
from tests.support.services import test_jwks

SPEC = importlib.util.spec_from_file_location("kong_render", ROOT / "kong" / "render.py")
assert SPEC is not None
assert SPEC.loader is not None
kong = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(kong)

SOURCE = KONG_FILE.read_text(encoding="utf-8")
ID = "0190a1b2-0000-7000-8000-000000000000"

TOP = {"_format_version", "_transform", "plugins", "upstreams", "services", "consumers"}
SERVICE = {
    "name", "host", "port", "protocol", "retries", "connect_timeout", "write_timeout", "read_timeout", "routes",
}  # fmt: skip
ROUTE = {
    "name", "methods", "paths", "protocols", "strip_path", "preserve_host", "https_redirect_status_code",
    "request_buffering", "response_buffering", "regex_priority", "plugins",
}  # fmt: skip
UPSTREAM = {
    "name", "algorithm", "hash_on", "hash_on_cookie", "hash_on_cookie_path", "healthchecks", "targets",
}  # fmt: skip
PLUGINS = {
    "correlation-id": {"header_name", "generator", "echo_downstream"},
    "cors": {
        "origins", "methods", "headers", "exposed_headers", "credentials", "max_age", "preflight_continue",
    },
    "file-log": {"path", "custom_fields_by_lua"},
    "ip-restriction": {"allow", "deny"},
    "jwt": {
        "key_claim_name", "claims_to_verify", "header_names", "uri_param_names", "cookie_names", "run_on_preflight",
    },
    "pre-function": {"access"},
    "prometheus": {"status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics"},
    "rate-limiting": {
        "minute", "limit_by", "header_name", "policy", "fault_tolerant", "hide_client_headers", "redis",
    },
    "request-size-limiting": {"allowed_payload_size", "size_unit", "require_content_length"},
    "request-termination": {"status_code", "content_type", "body"},
    "response-transformer": {"add"},
}  # fmt: skip


@pytest.fixture
def rendered() -> dict[str, Any]:
    document: dict[str, Any] = kong.render(SOURCE, {}, test_jwks())
    return document


def plugins(document: dict[str, Any]) -> list[dict[str, Any]]:
    routes = [route for service in document["services"] for route in service["routes"]]
    return document["plugins"] + [plugin for route in routes for plugin in route.get("plugins", ())]


def test_every_entity_has_only_fields_that_kong_knows(rendered: dict[str, Any]) -> None:
    assert rendered.keys() <= TOP
    for service in rendered["services"]:
        assert service.keys() <= SERVICE
        for route in service["routes"]:
            assert route.keys() <= ROUTE, route["name"]
    for upstream in rendered["upstreams"]:
        assert upstream.keys() <= UPSTREAM
    for plugin in plugins(rendered):
        assert plugin.keys() <= {"name", "config", "enabled"}
        assert plugin["config"].keys() <= PLUGINS[plugin["name"]], plugin["name"]


def test_names_are_unique_and_each_service_has_its_upstream(rendered: dict[str, Any]) -> None:
    names = [route["name"] for service in rendered["services"] for route in service["routes"]]
    assert len(names) == len(set(names))
    assert [service["host"] for service in rendered["services"]] == [
        upstream["name"] for upstream in rendered["upstreams"]
    ]
    for service, upstream in zip(SERVICES, rendered["upstreams"], strict=True):
        assert upstream["targets"] == [{"target": f"{service}-web:{3001 + SERVICES.index(service)}"}]
        assert upstream["healthchecks"]["active"]["http_path"] == "/ready"
        assert upstream["healthchecks"]["passive"]["unhealthy"]["tcp_failures"] > 0


def test_regular_expressions_of_paths_end_where_they_should(rendered: dict[str, Any]) -> None:
    for service in rendered["services"]:
        for route in service["routes"]:
            for path in route["paths"]:
                if path.startswith("~"):
                    re.compile(path[1:])
                    assert path.endswith("$"), path
                else:
                    assert re.fullmatch(r"/[a-z./]+", path), path


def test_nothing_is_left_open_and_everything_has_its_type(rendered: dict[str, Any]) -> None:
    text = yaml.safe_dump(rendered)
    assert "${" not in text
    assert "*id" not in yaml.safe_dump(rendered["consumers"])
    for plugin in plugins(rendered):
        if plugin["name"] == "rate-limiting":
            assert isinstance(plugin["config"]["minute"], int)
            assert plugin["config"]["policy"] == "local"
            assert plugin["config"]["redis"]["password"] is None
    (switch,) = (plugin for plugin in plugins(rendered) if plugin["name"] == "request-termination")
    assert switch["enabled"] is False


def test_the_environment_decides_limits_origins_and_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "redis"
    secret.write_text("0123\n")
    env = {
        "GATEWAY_RATE_POLICY": "redis",
        "GATEWAY_RATE_PAYMENT": "7",
        "GATEWAY_RATE_REDIS_PASSWORD_FILE": str(secret),
        "GATEWAY_CORS_ORIGINS": "https://care.example,https://shop.example",
        "GATEWAY_PROTOCOLS": "https",
        "GATEWAY_HSTS": ", Strict-Transport-Security:max-age=63072000",
        "GATEWAY_ADMIN_NETWORKS": "10.1.0.0/16,fd00::/8",
        "GATEWAY_MAINTENANCE": "true",
    }
    document = kong.render(SOURCE, env, test_jwks())
    found = {plugin["name"]: plugin for plugin in document["plugins"]}
    assert found["cors"]["config"]["origins"] == ["https://care.example", "https://shop.example"]
    assert found["request-termination"]["enabled"] is True
    assert (
        "Strict-Transport-Security:max-age=63072000"
        in found["response-transformer"]["config"]["add"]["headers"]
    )
    routes = {route["name"]: route for service in document["services"] for route in service["routes"]}
    assert {tuple(route["protocols"]) for route in routes.values()} == {("https",)}
    charges = {plugin["name"]: plugin["config"] for plugin in routes["payment-charges"]["plugins"]}
    assert (charges["rate-limiting"]["minute"], charges["rate-limiting"]["policy"]) == (7, "redis")
    assert charges["rate-limiting"]["redis"]["password"] == "0123"
    admin = {plugin["name"]: plugin["config"] for plugin in routes["auth-admin"]["plugins"]}
    assert admin["ip-restriction"]["allow"] == ["10.1.0.0/16", "fd00::/8"]


def test_the_gateways_own_answers_have_the_services_security_headers(rendered: dict[str, Any]) -> None:
    (transformer,) = (plugin for plugin in rendered["plugins"] if plugin["name"] == "response-transformer")
    added = transformer["config"]["add"]["headers"]
    assert dict(header.split(":", 1) for header in added) == dict(SECURITY_HEADERS)


def test_every_signing_key_is_a_credential_under_its_kid(rendered: dict[str, Any]) -> None:
    (consumer,) = rendered["consumers"]
    (credential,) = consumer["jwt_secrets"]
    assert credential["key"] == test_jwks()["keys"][0]["kid"]
    assert credential["algorithm"] == "RS256"
    assert credential["rsa_public_key"].startswith("-----BEGIN PUBLIC KEY-----")


def test_paths_stay_whole_and_limits_and_sizes_are_those_of_the_contract(rendered: dict[str, Any]) -> None:
    everywhere = {plugin["name"]: plugin["config"] for plugin in rendered["plugins"]}
    assert everywhere["request-size-limiting"]["allowed_payload_size"] == 1
    assert everywhere["correlation-id"]["header_name"] == "X-Request-ID"
    wanted = {
        "auth-public-write": 20, "auth-protected": 100, "payment-charges": 30, "payment-protected": 100,
        "auth-admin": 200, "payment-admin": 200,
    }  # fmt: skip
    routes = {route["name"]: route for route in _routes()}
    assert not any(route["strip_path"] for route in routes.values())
    configs = {
        name: {plugin["name"]: plugin["config"] for plugin in route.get("plugins", ())}
        for name, route in routes.items()
    }
    assert {name: configs[name]["rate-limiting"]["minute"] for name in wanted} == wanted
    assert configs["auth-kyc"]["request-size-limiting"]["allowed_payload_size"] == 10


def test_every_route_but_the_socket_has_one_rate_limit_and_with_a_token_it_is_the_callers() -> None:
    for route in _routes():
        limits = [plugin for plugin in route.get("plugins", ()) if plugin["name"] == "rate-limiting"]
        assert len(limits) == (0 if route["name"] == "chat-socket" else 1), route["name"]
        names = [plugin["name"] for plugin in route.get("plugins", ())]
        for limit in limits:
            by = "header" if "jwt" in names else "ip"
            assert limit["config"]["limit_by"] == by, route["name"]
            assert ("pre-function" in names) == (by == "header"), route["name"]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/api/auth/login", "auth-public-write"),
        ("POST", "/api/auth/refresh", "auth-public-refresh"),
        ("POST", "/api/auth/kyc", "auth-kyc"),
        ("GET", "/api/auth/kyc", "auth-protected"),
        ("POST", f"/api/auth/admin/kyc/{ID}/approve", "auth-admin"),
        ("POST", "/api/payment/process", "payment-charges"),
        ("POST", f"/api/payment/payments/{ID}/refunds", "payment-charges"),
        ("GET", "/api/payment/payments", "payment-protected"),
        ("POST", "/api/payment/admin/reconciliations", "payment-admin"),
        ("GET", "/api/notifications/stream", "notification-stream"),
        ("GET", "/api/notifications/admin/deliveries", "notification-admin"),
        ("POST", "/api/chat/socket.io/", "chat-socket"),
    ],
)
def test_a_path_gets_the_plugins_that_are_meant_for_it(method: str, path: str, route: str) -> None:
    found = find_route(load_routes(), method, path)
    assert found is not None
    assert found.name == route


@pytest.mark.parametrize("service", [service for service in SERVICES if service != "chat"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_administration_may_be_kept_to_the_operators_networks(service: str, method: str) -> None:
    prefix = "notifications" if service == "notification" else service
    found = find_route(load_routes(), method, f"/api/{prefix}/admin/anything/{ID}")
    assert found is not None
    assert {"ip-restriction", "jwt"} <= found.plugins


def test_only_kyc_may_be_large(rendered: dict[str, Any]) -> None:
    large = {
        route["name"]
        for route in _routes()
        if any(plugin["name"] == "request-size-limiting" for plugin in route.get("plugins", ()))
    }
    assert large == {"auth-kyc"}


def test_no_log_line_holds_a_token(rendered: dict[str, Any]) -> None:
    (log,) = (plugin for plugin in rendered["plugins"] if plugin["name"] == "file-log")
    fields = log["config"]["custom_fields_by_lua"]
    hidden = {"request.headers", "request.querystring", "request.url", "response.headers", "upstream_uri"}
    assert {name for name, code in fields.items() if code == "return nil"} == hidden
    assert fields["request.uri"] == "return kong.request.get_path()"


def test_preflights_need_no_token() -> None:
    (jwt,) = {
        str(plugin) for route in _routes() for plugin in route.get("plugins", ()) if plugin["name"] == "jwt"
    }
    assert "'run_on_preflight': False" in jwt
    assert "'claims_to_verify': ['exp']" in jwt


def _routes() -> list[dict[str, Any]]:
    document = kong.render(SOURCE, {}, test_jwks())
    return [route for service in document["services"] for route in service["routes"]]
