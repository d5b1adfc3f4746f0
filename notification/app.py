"""Wiring of notification."""

import os

from flask import Flask

from common.web import create_web_app
from notification.config import Settings
from notification.errors import ERRORS
from notification.routes import routes
from notification.streams import Streams


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of notification; settings come from the environment when not given."""
    app = create_web_app(
        settings or Settings.from_env(os.environ),
        "notification",
        prefix="/api/notifications",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care notifications",
        description="Every message to a customer: the in-app inbox, what leaves the house, and choices.",
    )
    app.extensions["notification_streams"] = Streams(app)
    return app
