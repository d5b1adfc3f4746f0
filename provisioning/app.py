"""Wiring of provisioning."""

import os

from flask import Flask

from common.web import create_web_app
from provisioning.cache import make_cache
from provisioning.commands import register_commands
from provisioning.config import Settings
from provisioning.errors import ERRORS
from provisioning.routes import routes


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of provisioning; settings come from the environment when not given."""
    settings = settings or Settings.from_env(os.environ)
    app = create_web_app(
        settings,
        "provisioning",
        prefix="/api/provisioning",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care provisioning",
        description="The catalogue, customers' orders, and the live services on the network.",
    )
    app.extensions["provisioning_catalogue"] = make_cache(settings)
    register_commands(app)
    return app
