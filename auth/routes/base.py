"""What the routes of auth share: the blueprint, who asks, limits, sign-in."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, request
from sqlalchemy.orm import Session

from auth import queries
from auth.errors import FreshProofRequired, InvalidCode, NotWhileActing
from auth.limits import Claim, Limit
from auth.models import Purpose, User
from auth.parts import parts
from auth.schemas.accounts import UserOut
from auth.schemas.sessions import TokensOut
from auth.tokens import sign_token
from auth.use_cases import codes
from auth.use_cases.audit import Client
from auth.use_cases.sessions import start_session
from common import clock, context, ids
from common.db import Found, Runner, reading
from common.identity import Identity, identity

routes = Blueprint("auth", __name__)


def client() -> Client:
    """Where the current request comes from."""
    address = parts().clients.address(request)
    agent = context.actor_id.get() or None
    return Client(ip=address, user_agent=request.headers.get("User-Agent", ""), actor_id=agent)


def staff() -> Client:
    """The current request's client, as the member of staff who is signed in."""
    found = client()
    return Client(found.ip, found.user_agent, actor_id=identity().user_id)


def own() -> Identity:
    """The caller, for what no agent may do in a customer's place. Raises NotWhileActing."""
    who = identity()
    if who.actor_id is not None:
        raise NotWhileActing()
    return who


def fresh() -> Identity:
    """The caller, for what changes how they sign in: who holds their token for a moment cannot. Raises NotWhileActing,
    and FreshProofRequired unless they signed in, or showed again who they are, lately."""
    who, settings = own(), parts().settings
    with reading() as session:
        at = queries.proved_at(session, who.session_id)
    if at is None or at < clock.now() - timedelta(seconds=settings.proof_s):
        raise FreshProofRequired()
    return who


def per_minute(who: Client) -> Claim:
    """Sign-ins, registrations, codes and resets of one address in a minute."""
    return parts().limits.per_minute.claim(who.ip)


def ip_failures(who: Client) -> Claim:
    """Failed sign-ins of one address, whosever account they were for."""
    return parts().limits.ip_failures.claim(who.ip)


def tries(name: str, subject: str) -> Claim:
    """Attempts at one account: a few are free, then each waits longer than the one before."""
    return parts().limits.tries[name].claim(subject)


def login_tries(identifier: str, user_id: str | None) -> tuple[Claim, Claim]:
    """Attempts by a number or address, and at whatever account it names. Only the first may be seen to refuse: else
    tries by a number would show in the answers to an address, and that both are one account's."""
    return tries("login", identifier), tries("account", user_id or identifier)


def codes_to(purpose: str, target: str) -> tuple[Claim, Claim]:
    """Codes to one number or address: one a minute for each purpose, so many a day for all."""
    settings = parts().settings
    pause = settings.code_every_s
    minute = Limit("code-minute", free=1, forget_s=pause, first_s=pause, longest_s=pause)
    day = Limit("code-day", free=settings.codes_per_day, forget_s=86400)
    return minute.claim(f"{purpose} {target}"), day.claim(target)


def send_code(session: Session, user: User | None, purpose: Purpose, target: str) -> datetime:
    """Make a code for a number or address and have it told. Returns its end."""
    settings = parts().settings
    return codes.send_code(
        session,
        parts().vault,
        user=user,
        purpose=purpose,
        target=target,
        life=settings.code_life,
        tries=settings.code_tries,
    )


def guess_code(session: Session, user_id: str, purpose: Purpose, target: str, code: str) -> bool:
    """Whether it is the code that the user was sent there; a try is counted, and the right one is spent."""
    vault = parts().vault
    right = codes.guess_code(session, vault, purpose=purpose, target=target, code=code, user_id=user_id)
    return right is not None


def wrong_code() -> InvalidCode:
    return InvalidCode(errors=[{"field": "code", "message": "wrong, used or too old"}])


def access_token(user_id: str, roles: list[str], session_id: str, **claims: Any) -> str:
    key = parts().keys.signing_key()
    return sign_token(key, user_id, {"roles": roles, "sid": session_id, **claims})


def tokens_out(user: User | Found, access: str, refresh: str) -> TokensOut:
    return TokensOut(
        user=UserOut.of(user),
        access_token=access,
        refresh_token=refresh,
        expires_in=parts().settings.access_token_s,
    )


@dataclass(frozen=True)
class SignIn:
    """The tokens of a session that is about to start: signing takes time, so it is done before the transaction."""

    session_id: str
    roles: list[str]
    access: str
    refresh: str

    @classmethod
    def of(cls, user_id: str, roles: list[str]) -> "SignIn":
        session_id = ids.new_id()
        return cls(session_id, roles, access_token(user_id, roles, session_id), secrets.token_urlsafe(32))

    def start(self, connection: Runner, user: User | Found, who: Client) -> TokensOut:
        start_session(
            connection,
            session_id=self.session_id,
            user_id=user.id,
            refresh_token=self.refresh,
            life=timedelta(seconds=parts().settings.refresh_token_s),
            client=who,
        )
        access = self.access
        if user.roles != self.roles:  # they were changed meanwhile
            access = access_token(user.id, user.roles, self.session_id)
        return tokens_out(user, access, self.refresh)


def locked_until(count: int) -> datetime | None:
    """When a lockout that began with this attempt ends; None when it was not the one that began it."""
    settings = parts().settings
    if count != settings.login_free_attempts:
        return None
    return clock.now() + timedelta(seconds=settings.login_first_delay_s)
