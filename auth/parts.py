"""What `create_app` makes once for the routes, jobs and commands of auth."""

from dataclasses import dataclass

from flask import current_app

from auth.clients import Clients
from auth.config import Settings
from auth.documents import DocumentStore
from auth.keys import Keys
from auth.limits import Limiter, Limits
from auth.passwords import Hashing
from auth.vault import Vault
from auth.webauthn_ceremony import RelyingParty


@dataclass(frozen=True)
class Parts:
    """One of each."""

    settings: Settings
    keys: Keys
    vault: Vault
    hashing: Hashing
    limiter: Limiter
    limits: Limits
    clients: Clients
    relying_party: RelyingParty
    documents: DocumentStore


def parts() -> Parts:
    found: Parts = current_app.extensions["sricare_auth"]
    return found
