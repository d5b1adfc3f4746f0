"""Wiring of billing."""

import os

from flask import Flask

from billing.commands import register_commands
from billing.config import Settings
from billing.errors import ERRORS
from billing.routes import routes
from common.web import create_web_app


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of billing; settings come from the environment when not given."""
    app = create_web_app(
        settings or Settings.from_env(os.environ),
        "billing",
        prefix="/api/billing",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care billing",
        description="Accounts, plans, usage, invoices, dunning and the ledger.",
    )
    register_commands(app)
    return app
