"""The blueprint that the modules beside this one register their routes on."""

from flask import Blueprint, current_app

from chat.config import Settings

routes = Blueprint("chat", __name__)


def settings() -> Settings:
    """Of the current application."""
    found: Settings = current_app.extensions["sricare_settings"]
    return found
