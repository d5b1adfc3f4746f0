"""The parts that every service's `create_app` is wired from."""

from pathlib import Path

from flask import Blueprint, Flask
from werkzeug.routing import BaseConverter

from common import ids, tracing
from common.db import init_database
from common.errors import AppError
from common.identity import init_identity
from common.identity.keys import KeySource, http_source
from common.logging import configure_logging
from common.settings import Settings
from common.web.frame import install_frame
from common.web.health import install_health
from common.web.openapi import install_openapi
from common.web.problems import install_problems

MAX_BODY = 1024 * 1024


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
    install_frame(app, secure=settings.public_url.startswith("https://"))
    app.register_blueprint(routes, url_prefix=prefix)
    install_health(app, settings)
    install_openapi(app, prefix=prefix, title=title, description=description, errors=errors)
    return app
