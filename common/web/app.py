"""The parts that every service's `create_app` is wired from."""

import logging
import time
from pathlib import Path

from flask import Blueprint, Flask, Response, g, request
from werkzeug.routing import BaseConverter

from common import context, ids, tracing
from common.db import init_database
from common.errors import AppError
from common.identity import init_identity
from common.identity.keys import KeySource, http_source
from common.logging import configure_logging
from common.settings import Settings
from common.web.body import refuse_nul
from common.web.health import install_health
from common.web.metrics import observe
from common.web.openapi import install_openapi
from common.web.problems import install_problems

log = logging.getLogger("access")

MAX_BODY = 1024 * 1024
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class IdConverter(BaseConverter):
    """`<id:name>`: anything that is not a UUID is an unknown thing, 404."""

    regex = ids.UUID_PATTERN


def create_web_app(
    settings: Settings,
    package: str,
    *,
    prefix: str,
    routes: Blueprint,
    errors: tuple[type[AppError], ...] = (),
    title: str,
    description: str,
    key_source: KeySource | None = None,
) -> Flask:
    """A service's Flask application: database, identity, problems, operations endpoints, OpenAPI, its routes.

    `package` is the service's folder name (its `migrations/` lie in it); `key_source` is where signing keys come from
    when it is not the JWKS URL (auth knows its own).
    """
    configure_logging(settings.SERVICE, settings.log_level)
    tracing.configure(settings.SERVICE, settings.otlp_endpoint)
    root = Path(__file__).resolve().parents[2]
    app = Flask(package, root_path=str(root / package), static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = IdConverter
    app.extensions["sricare_settings"] = settings
    init_database(app, settings, root / package / "migrations")
    init_identity(app, key_source or http_source(settings.jwks_url))
    install_problems(app)
    _install_request_frame(app, settings)
    app.register_blueprint(routes, url_prefix=prefix)
    install_health(app, settings)
    install_openapi(app, prefix=prefix, title=title, description=description, errors=errors)
    return app


def _install_request_frame(app: Flask, settings: Settings) -> None:
    """Request id, trace, security headers, metrics and one access log line around every request."""
    secure = settings.public_url.startswith("https://")

    @app.before_request
    def _begin() -> None:
        g.started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        context.request_id.set(given if _acceptable(given) else ids.new_id())
        g.span = tracing.span(f"{request.method} {request.url_rule or 'unmatched'}", tracing.SpanKind.SERVER,
                              request.headers.get("traceparent"))  # fmt: skip
        g.span.__enter__()
        if request.view_args:
            refuse_nul(dict(request.view_args), "path")

    @app.after_request
    def _finish(response: Response) -> Response:
        headers = response.headers
        headers["X-Request-ID"] = context.request_id.get()
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        if secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        route = request.url_rule.rule if request.url_rule else "unmatched"
        observe(request.method, route, response.status_code, seconds)
        if route not in ("/live", "/ready", "/metrics"):
            identity = g.get("identity")
            log.info(
                "request",
                extra={
                    "method": request.method,
                    "path": request.path,
                    "status": response.status_code,
                    "ms": round(seconds * 1000, 2),
                    "user_id": identity.user_id if identity else None,
                },
            )
        return response

    @app.teardown_request
    def _end(error: BaseException | None) -> None:
        span = g.pop("span", None)
        if span is not None:
            span.__exit__(None, None, None)


def _acceptable(request_id: str) -> bool:
    return (
        0 < len(request_id) <= 128
        and request_id.isascii()
        and request_id.replace("-", "").replace("_", "").replace(".", "").isalnum()
    )
