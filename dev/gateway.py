"""The gateway without containers: Caddy, configured from the same table of routes that Kong gets (`kong/kong.yaml`).

It routes, keeps a chat client on its process, passes WebSockets and event streams through, and answers for services
that are away. Tokens are checked by the services themselves; limits and the other plugins are Kong's.

`python -m dev.gateway FILE` writes the configuration for a network of containers, where the names of Kong's targets are
looked up each second: processes may come and go (deploy/caddy).
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.environment import GATEWAY_PORT, ROOT
from dev.ports import LOOPBACK

KONG_FILE = ROOT / "kong" / "kong.yaml"
SAFE_REQUEST_ID = "^[A-Za-z0-9._-]{1,128}$"  # what may stand in a JSON document as it is


@dataclass(frozen=True)
class Route:
    """One path of one of Kong's routes, with the plugins in force on it."""

    name: str
    service: str
    path: str  # as in the file: a prefix, or a regular expression after `~`
    methods: frozenset[str]  # empty: all
    plugins: frozenset[str]
    regex_priority: int = 0

    @property
    def pattern(self) -> str:
        """A regular expression of the paths it matches; Kong's are anchored at the start only."""
        return f"^(?:{self.path[1:]})" if self.path.startswith("~") else f"^{re.escape(self.path)}"

    @property
    def precedence(self) -> tuple[bool, bool, int, int]:
        """Kong tries routes with methods first, then regular expressions, then the longer path."""
        return bool(self.methods), self.path.startswith("~"), self.regex_priority, len(self.path)

    def matches(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and re.match(self.pattern, path) is not None


def load_routes(file: Path = KONG_FILE) -> list[Route]:
    """The routes of Kong's declarative file in the order in which Kong tries them."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    everywhere = _plugins(document)
    routes = [
        Route(
            name=route["name"],
            service=service["name"],
            path=path,
            methods=frozenset(route.get("methods") or ()),
            plugins=everywhere | _plugins(service) | _plugins(route),
            regex_priority=route.get("regex_priority", 0),
        )
        for service in document["services"]
        for route in service["routes"]
        for path in route["paths"]
    ]
    return sorted(routes, key=lambda route: route.precedence, reverse=True)


def find_route(routes: Sequence[Route], method: str, path: str) -> Route | None:
    """The route that takes the request; None when the gateway answers 404."""
    return next((route for route in routes if route.matches(method, path)), None)


def _plugins(entity: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(plugin["name"] for plugin in entity.get("plugins") or ())


def caddy_command(configuration: Path) -> list[str]:
    """Caddy from the virtual environment, in the foreground."""
    return [str(Path(sys.executable).parent / "caddy"), "run", "--config", str(configuration)]


def caddy_environment(folder: Path) -> dict[str, str]:
    """Caddy keeps nothing outside the folder."""
    return {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


Upstreams = Mapping[str, Sequence[int] | str]
"""Where each service is: its loopback ports, or `name:port`, all addresses of which are its processes."""


def write_caddy_configuration(file: Path, port: int, upstreams: Upstreams, host: str = LOOPBACK) -> None:
    """Write Caddy's configuration for the routes whose service has upstreams."""
    file.write_text(
        json.dumps(caddy_configuration(load_routes(), port, upstreams, host), indent=2), encoding="utf-8"
    )


def load_targets(file: Path = KONG_FILE) -> dict[str, str]:
    """Each service's `name:port` in Kong's file."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    targets = {upstream["name"]: upstream["targets"][0]["target"] for upstream in document["upstreams"]}
    return {service["name"]: targets[service["host"]] for service in document["services"]}


def caddy_configuration(
    routes: Sequence[Route], port: int, upstreams: Upstreams, host: str = LOOPBACK
) -> dict[str, Any]:
    served = [route for route in routes if route.service in upstreams]
    server = {
        "listen": [f"{host}:{port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [
            _request_id(),
            *(_proxy(route, upstreams[route.service]) for route in served),
            {"handle": [_problem(404, "not_found", "There is nothing at this address")]},
        ],
        "errors": {
            "routes": [
                {
                    "match": [{"expression": "{http.error.status_code} in [502, 503, 504]"}],
                    "handle": [
                        _problem(
                            503, "service_unavailable", "The service does not answer", {"Retry-After": ["1"]}
                        )
                    ],
                }
            ]
        },
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "apps": {"http": {"grace_period": "3s", "servers": {"gateway": server}}},
    }


def _request_id() -> dict[str, Any]:
    """Every request has an id from here on: the client's when it is harmless, else a new one."""
    return {
        "match": [{"not": [{"header_regexp": {"X-Request-Id": {"pattern": SAFE_REQUEST_ID}}}]}],
        "handle": [{"handler": "headers", "request": {"set": {"X-Request-Id": ["{http.request.uuid}"]}}}],
    }


def _proxy(route: Route, upstreams: Sequence[int] | str) -> dict[str, Any]:
    match: dict[str, Any] = {"path_regexp": {"pattern": route.pattern}}
    if route.methods:
        match["method"] = sorted(route.methods)
    handler: dict[str, Any] = {
        "handler": "reverse_proxy",
        **_destination(route.service, upstreams),
        "flush_interval": -1,  # event streams reach the client as they are written
        # Idle connections are dropped here before the services drop them (75 s), so no request meets a closing one.
        "transport": {"protocol": "http", "dial_timeout": "2s", "keep_alive": {"idle_timeout": "30s"}},
    }
    return {"match": [match], "handle": [handler], "terminal": True}


def _destination(service: str, upstreams: Sequence[int] | str) -> dict[str, Any]:
    """Which process gets a request. One that cannot be reached is left alone for two seconds, and another one asked."""
    sticky = {"policy": "cookie", "name": f"{service}_process"}
    several = {"health_checks": {"passive": {"fail_duration": "2s"}}}
    if isinstance(upstreams, str):
        name, _, port = upstreams.partition(":")
        return {
            "dynamic_upstreams": {"source": "a", "name": name, "port": port, "refresh": "1s"},
            "load_balancing": {"selection_policy": sticky, "try_duration": "2s"},
            **several,
        }
    found: dict[str, Any] = {"upstreams": [{"dial": f"{LOOPBACK}:{port}"} for port in upstreams]}
    if len(upstreams) > 1:
        found |= {"load_balancing": {"selection_policy": sticky, "retries": len(upstreams) - 1}, **several}
    return found


def _problem(
    status: int, code: str, detail: str, headers: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """A problem document of the gateway itself, of the same shape as the services'."""
    document = {
        "type": f"urn:sri-care:problem:{code}",
        "title": {404: "Not Found", 503: "Service Unavailable"}[status],
        "status": status,
        "detail": detail,
        "instance": "urn:uuid:{http.request.uuid}",
        "code": code,
        "request_id": "{http.request.header.X-Request-Id}",
    }
    return {
        "handler": "static_response",
        "status_code": status,
        "headers": {
            "Content-Type": ["application/problem+json"],
            "Cache-Control": ["no-store"],
            "Content-Security-Policy": ["default-src 'none'; frame-ancestors 'none'"],
            "Referrer-Policy": ["no-referrer"],
            "X-Content-Type-Options": ["nosniff"],
            "X-Request-Id": ["{http.request.header.X-Request-Id}"],
            **(headers or {}),
        },
        "body": json.dumps(document),
    }


def main() -> None:
    everywhere = "0.0.0.0"  # noqa: S104 (inside a container, whose port is published on loopback)
    write_caddy_configuration(Path(sys.argv[1]), GATEWAY_PORT, load_targets(), everywhere)


if __name__ == "__main__":
    main()
