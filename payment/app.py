"""Wiring of payment."""

import os
import threading
from datetime import timedelta

from flask import Flask

from common.web import create_web_app
from payment.commands import register_commands
from payment.config import Settings
from payment.errors import ERRORS
from payment.gateway import Gateway
from payment.gateway.breaker import Breaker
from payment.gateway.routing import Gateways
from payment.gateway.simulated import Callbacks, SimulatedGateway
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
    names = [settings.gateway, *([settings.second_gateway] if settings.second_gateway else [])]
    app.extensions["payment_gateways"] = Gateways([_gateway(name, settings) for name in names], Breaker())
    app.extensions["payment_waiters"] = threading.BoundedSemaphore(settings.waiting_requests)
    register_commands(app)
    return app


def _gateway(name: str, settings: Settings) -> Gateway:
    if name == "stripe":
        from payment.gateway.stripe import StripeGateway  # a fifth of the time of a start without it

        return StripeGateway(
            settings.stripe_api_key,
            settings.stripe_webhook_secret,
            return_url=settings.public_url,
            api_base=settings.stripe_api_base,
        )
    callbacks = None
    if settings.simulated_webhook_url:
        callbacks = Callbacks(
            settings.simulated_webhook_url,
            latest=timedelta(milliseconds=settings.simulated_webhook_delay_ms),
            copies=settings.simulated_webhook_copies,
        )
    return SimulatedGateway(
        latency_s=settings.simulated_latency_ms / 1000,
        webhook_secret=settings.simulated_webhook_secret,
        failure_rate=settings.simulated_failure_rate,
        callbacks=callbacks,
    )
