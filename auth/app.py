"""Wiring of auth."""

import os

from flask import Flask
from flask_jwt_extended import JWTManager

from auth.commands import register_commands
from auth.config import Settings
from auth.errors import ERRORS
from auth.keys import KeyRing
from auth.routes import routes
from common.identity import AUDIENCE, ISSUER
from common.web import create_web_app


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of auth; settings come from the environment when not given."""
    settings = settings or Settings.from_env(os.environ)
    keys = KeyRing(settings.keys_dir)
    app = create_web_app(
        settings,
        "auth",
        prefix="/api/auth",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care auth",
        description="Accounts, sessions and identity.",
        key_source=keys.jwks,
    )
    app.config.update(JWT_ALGORITHM="RS256", JWT_ENCODE_ISSUER=ISSUER, JWT_ENCODE_AUDIENCE=AUDIENCE)
    app.extensions["sricare_keys"] = keys
    JWTManager(app).encode_key_loader(lambda _identity: keys.signing_key().private)
    register_commands(app)
    return app
