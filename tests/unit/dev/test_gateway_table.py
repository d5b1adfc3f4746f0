"""The one table of routes says the same to Kong, to the local proxy and to the tests."""

import pytest
import yaml

from dev.environment import SERVICES
from dev.gateway import KONG_FILE, caddy_configuration, find_route, load_routes

ID = "0190a1b2-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "service", "needs_token"),
    [
        ("POST", "/api/auth/login", "auth", False),
        ("POST", "/api/auth/login/mfa", "auth", False),
        ("POST", "/api/auth/password/forgot", "auth", False),
        ("POST", "/api/auth/password/change", "auth", True),
        ("GET", "/api/auth/.well-known/jwks.json", "auth", False),
        ("GET", "/api/auth/login", "auth", True),
        ("POST", "/api/auth/logout", "auth", True),
        ("GET", "/api/auth/admin/users", "auth", True),
        ("GET", "/api/provisioning/offerings", "provisioning", False),
        ("GET", f"/api/provisioning/offerings/{ID}", "provisioning", False),
        ("POST", "/api/provisioning/offerings", "provisioning", True),
        ("GET", f"/api/provisioning/offerings/{ID}/x", "provisioning", True),
        ("GET", f"/api/billing/invoices/{ID}/pdf", "billing", True),
        ("POST", "/api/payment/process", "payment", True),
        ("POST", "/api/payment/webhooks/simulated", "payment", False),
        ("GET", "/api/notifications", "notification", True),
        ("GET", "/api/notifications/stream", "notification", True),
        ("GET", "/api/notifications/apidocs/", "notification", False),
        ("GET", "/api/chat/client/", "chat", False),
        ("GET", "/api/chat/socket.io/", "chat", False),
        ("POST", "/api/chat/conversations", "chat", True),
    ],
)
def test_a_path_goes_to_its_service_with_a_token_or_without(
    method: str, path: str, service: str, needs_token: bool
) -> None:
    route = find_route(load_routes(), method, path)
    assert route is not None
    assert (route.service, "jwt" in route.plugins) == (service, needs_token)


@pytest.mark.parametrize(
    "path", ["/", "/live", "/ready", "/health", "/metrics", "/api", "/api/authors", "/API/auth/me"]
)
def test_operations_and_foreign_paths_are_not_routed(path: str) -> None:
    assert find_route(load_routes(), "GET", path) is None


def test_every_service_keeps_its_paths_behind_the_gateway() -> None:
    document = yaml.safe_load(KONG_FILE.read_text())
    assert [service["name"] for service in document["services"]] == list(SERVICES)
    assert all(
        route["strip_path"] is False for service in document["services"] for route in service["routes"]
    )


def test_only_a_service_with_several_processes_is_sticky() -> None:
    configuration = caddy_configuration(load_routes(), 8000, {"auth": [3001], "chat": [3006, 4006]})
    routes = configuration["apps"]["http"]["servers"]["gateway"]["routes"]
    proxies = [route["handle"][0] for route in routes if route["handle"][0]["handler"] == "reverse_proxy"]
    dials = {tuple(u["dial"] for u in proxy["upstreams"]): "load_balancing" in proxy for proxy in proxies}
    assert dials == {("127.0.0.1:3001",): False, ("127.0.0.1:3006", "127.0.0.1:4006"): True}
