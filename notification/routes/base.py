"""The blueprint that every module of routes hangs its views on."""

from flask import Blueprint, current_app

from notification.config import Settings

routes = Blueprint("notification", __name__)


def settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found
