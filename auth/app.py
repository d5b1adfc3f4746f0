"""Wiring of auth."""

import os

from flask import Flask

from auth.clients import Clients
from auth.commands import register_commands
from auth.config import Settings
from auth.documents import DocumentStore
from auth.errors import ERRORS
from auth.keys import open_keys
from auth.limits import Limiter, Limits
from auth.parts import Parts
from auth.passwords import Hashing
from auth.routes import routes
from auth.tokens import init_tokens
from auth.vault import Vault
from auth.webauthn_ceremony import RelyingParty
from common.web import create_web_app


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application of auth; settings come from the environment when not given."""
    settings = settings or Settings.from_env(os.environ)
    keys = open_keys(settings)
    app = create_web_app(
        settings,
        "auth",
        prefix="/api/auth",
        routes=routes,
        errors=ERRORS,
        title="Sri-Care auth",
        description="Accounts, sessions, identity, and the platform's audit trail.",
        key_source=keys.jwks,
    )
    init_tokens(app, settings.access_token_s)
    vault = Vault(keys.secret)
    app.extensions["sricare_auth"] = Parts(
        settings=settings,
        keys=keys,
        vault=vault,
        hashing=Hashing(settings),
        limiter=Limiter(settings),
        limits=Limits.of(settings),
        clients=Clients(settings),
        relying_party=RelyingParty(settings),
        documents=DocumentStore(settings.folder("kyc"), vault),
    )
    register_commands(app)
    return app
