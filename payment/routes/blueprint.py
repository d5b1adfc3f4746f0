"""The blueprint, and what its views reach for."""

from flask import Blueprint, current_app

from payment.config import Settings
from payment.gateway.routing import Gateways

routes = Blueprint("payment", __name__)


def settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def gateways() -> Gateways:
    found: Gateways = current_app.extensions["payment_gateways"]
    return found
