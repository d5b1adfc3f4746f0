"""Who is calling: RS256 access tokens of auth, verified here by every service, and their revocation."""

from common.identity.requests import authorise, identity, init_identity
from common.identity.revocations import REVOCATION_HANDLERS, revoke
from common.identity.tokens import AUDIENCE, ISSUER, Identity, InvalidToken

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "REVOCATION_HANDLERS",
    "Identity",
    "InvalidToken",
    "authorise",
    "identity",
    "init_identity",
    "revoke",
]
