"""Wiring of payment."""

import os

from flask import Flask

from common.web import create_web_app
from payment.config import Settings
from payment.errors import ERRORS
from payment.gateway.simulated import SimulatedGateway
from payment.routes import routes


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of payment; settings come from the environment when not given."""
    settings = settings or Settings.from_env(os.environ)
    app = create_web_app(
        settings,
        "payment",
        prefix="/api/payment",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care payment",
        description="Charges by card and wallet, refunds, the customers' wallets.",
    )
    app.extensions["payment_gateway"] = SimulatedGateway(latency_s=settings.simulated_latency_ms / 1000)
    return app
