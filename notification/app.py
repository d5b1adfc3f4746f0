"""Wiring of notification."""

import os

from flask import Flask

from common.web import create_web_app
from notification.config import Settings
from notification.errors import ERRORS
from notification.routes import routes


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of notification; settings come from the environment when not given."""
    return create_web_app(
        settings or Settings.from_env(os.environ),
        "notification",
        prefix="/api/notifications",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care notifications",
        description="Every message to a customer: the in-app inbox, e-mail and SMS.",
    )
