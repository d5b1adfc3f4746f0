"""The identity of the current request."""

from flask import Flask, current_app, g, request

from common import context
from common.errors import Forbidden, ServiceUnavailable, Unauthorized
from common.identity.keys import KeySet, KeySource, KeysUnavailable
from common.identity.revocations import Watch
from common.identity.tokens import Identity, InvalidToken, Verifier


class Guard:
    """Verifier and revocations of one application."""

    def __init__(self, source: KeySource) -> None:
        self.verifier = Verifier(KeySet(source))
        self.watch = Watch()

    def admit(self, token: str) -> Identity:
        """The identity behind a token. Raises InvalidToken (also when revoked) or KeysUnavailable."""
        found = self.verifier.verify(token)
        if self.watch.refuses(found):
            raise InvalidToken("revoked")
        return found


def init_identity(app: Flask, source: KeySource) -> None:
    app.extensions["sricare_guard"] = Guard(source)


def guard() -> Guard:
    """The current application's guard (Socket.IO asks it directly)."""
    found: Guard = current_app.extensions["sricare_guard"]
    return found


def authorise(roles: tuple[str, ...]) -> Identity:
    """Let the caller in who has one of the roles (`()`: any signed-in user). Raises Unauthorized, Forbidden,
    ServiceUnavailable."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized()
    try:
        found = guard().admit(token.strip())
    except InvalidToken:
        raise Unauthorized("The access token is not valid") from None
    except KeysUnavailable:
        raise ServiceUnavailable("Tokens cannot be verified right now", retry_after=2) from None
    if roles and not found.roles.intersection(roles):
        raise Forbidden()
    g.identity = found
    context.actor_id.set(found.actor_id or "")
    return found


def identity() -> Identity:
    """The caller whom `authorise` let in."""
    found: Identity = g.identity
    return found
