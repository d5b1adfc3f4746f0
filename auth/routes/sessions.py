"""Sign-in, refresh, sign-out, sessions, keys."""

import secrets
from datetime import timedelta

from flask import Response

from auth import queries
from auth.errors import (
    InvalidCredentials,
    InvalidMfaCode,
    InvalidMfaToken,
    InvalidRefreshToken,
    NotWhileActing,
    RefreshTokenReused,
    TooManyAttempts,
)
from auth.keys import successor
from auth.limits import Attempt, Claim, Settlement
from auth.parts import parts
from auth.routes.base import (
    SignIn,
    access_token,
    client,
    ip_failures,
    locked_until,
    login_tries,
    own,
    per_minute,
    routes,
    tokens_out,
    tries,
)
from auth.schemas.sessions import (
    JwksOut,
    LoginIn,
    LoginOut,
    MfaLoginIn,
    MfaRequiredOut,
    ProofIn,
    RefreshIn,
    SessionOut,
    TokensOut,
)
from auth.use_cases import mfa, sessions
from auth.use_cases.audit import Client, raise_alert
from common.db import Found, PageQuery, Runner, reading, snapshot, transaction, writing
from common.errors import NotFound, ServiceUnavailable
from common.identity import identity
from common.web import operation, reply, reply_page


@routes.post("/login")
@operation(
    "Sign in with a password",
    body=LoginIn,
    returns={200: LoginOut},
    roles=None,
    raises=(InvalidCredentials, TooManyAttempts),
)
def post_login(body: LoginIn) -> Response:
    """Answer and time are the same whether or not there is such an account."""
    who, limiter = client(), parts().limiter
    failures = ip_failures(who)

    def attempt(connection: Runner) -> Attempt[tuple[Found | None, tuple[Claim, Claim]]]:
        found = queries.find_sign_in(connection, phone=body.phone, email=body.email)
        tries = login_tries(body.identifier, found.id if found else None)
        return Attempt((found, tries), [per_minute(who), failures, tries[0]], silent=tries[1])

    (account, attempts), (_, of_address, _, of_account) = limiter.admit_to(attempt)
    answer = None
    while answer is None:
        stored = account.password_hash if account is not None and account.active and of_account else None
        try:
            right = parts().hashing.verify(body.password, stored)
        except ServiceUnavailable:
            limiter.settle(give_back=[failures, *attempts])
            raise
        if account is None or not right:
            _fail(account, body.identifier, who, of_address, of_account)
            raise InvalidCredentials()
        settlement = limiter.settlement(clear=attempts, give_back=[failures])
        answer = _let_in(account, body.password, who, settlement)
        if answer is None:  # the account was changed while its password was being verified
            with snapshot() as connection:
                account = queries.find_sign_in(connection, phone=body.phone, email=body.email)
    return answer


def _let_in(account: Found, password: str, who: Client, settlement: Settlement | None) -> Response | None:
    """The answer to a right password, in one transaction: a session, or the wish for the second factor. None when the
    account is not as it was."""
    hashing, new_hash = parts().hashing, None
    if hashing.outdated(account.password_hash):
        new_hash = hashing.hash(password)
    sign_in = None if account.second_factor else SignIn.of(account.id, account.roles)
    with writing() as connection:
        if not sessions.confirm_verified(connection, account, new_hash=new_hash):
            return None
        if sign_in is None:
            answer: TokensOut | MfaRequiredOut = _ask_for_second_factor(connection, account.id)
        else:
            answer = sign_in.start(connection, account, who)
        if settlement is not None:
            settlement.write(connection)
        if sign_in is not None:
            sessions.note_login(connection, account.id, method="password", client=who)
        return reply(answer)


def _fail(account: Found | None, identifier: str, who: Client, of_address: int, of_account: int) -> None:
    """Keep it; when one account, or one address at whichever accounts, has failed as often as it may, have somebody
    look."""
    settings, until = parts().settings, locked_until(of_account)
    shown = f"…{identifier[-3:]}"
    with transaction() as session:
        if until is not None:
            user_id = account.id if account is not None else ""
            data = {"identifier": shown, "failures": of_account}
            raise_alert(session, "many_failed_logins", user_id=user_id, client=who, data=data)
        if of_address == settings.per_ip("ip_free_failures"):
            data = {"address": who.ip, "failures": of_address}
            raise_alert(session, "many_failed_logins", user_id="", client=who, data=data)
        sessions.note_failed_login(session, account, identifier=shown, client=who, locked_until=until)


def _ask_for_second_factor(connection: Runner, user_id: str) -> MfaRequiredOut:
    token = secrets.token_urlsafe(32)
    mfa.begin_challenge(connection, user_id=user_id, token=token)
    return MfaRequiredOut(mfa_token=token, methods=["totp", "recovery_code"])


@routes.post("/login/mfa")
@operation(
    "Finish a sign-in with the second factor",
    body=MfaLoginIn,
    returns={200: TokensOut},
    roles=None,
    raises=(InvalidMfaToken, InvalidMfaCode, TooManyAttempts),
)
def post_login_mfa(body: MfaLoginIn) -> Response:
    who, limiter = client(), parts().limiter
    limiter.admit(per_minute(who))
    with reading() as session:
        user_id = queries.challenged_user(session, sessions.hash_token(body.mfa_token))
        if user_id is None:
            raise InvalidMfaToken()
        roles = queries.get_user(session, user_id).roles
    attempts = tries("mfa", user_id)
    limiter.admit(attempts)
    sign_in = SignIn.of(user_id, roles)
    with transaction() as session:
        user = mfa.answer_challenge(session, parts().vault, token=body.mfa_token, code=body.code)
        if user is not None:
            answer = reply(sign_in.start(session.connection(), user, who))
            sessions.note_login(session.connection(), user.id, method="password+totp", client=who)
        else:
            sessions.note_failure(session, "mfa.failed", user_id=user_id, client=who)
    if user is None:
        raise InvalidMfaCode()
    limiter.settle(clear=[attempts])
    return answer


@routes.post("/refresh")
@operation(
    "Exchange the refresh token",
    body=RefreshIn,
    returns={200: TokensOut},
    roles=None,
    raises=(InvalidRefreshToken, RefreshTokenReused),
)
def post_refresh(body: RefreshIn) -> Response:
    settings = parts().settings
    fresh = successor(parts().keys.secret, body.refresh_token)
    with transaction() as session:
        found = sessions.rotate_refresh_token(
            session,
            presented=body.refresh_token,
            successor=fresh,
            grace=timedelta(seconds=settings.refresh_grace_s),
            life=timedelta(seconds=settings.refresh_token_s),
            client=client(),
        )
        user = found.user
    sessions.refuse_reuse(found)
    return reply(tokens_out(user, access_token(user.id, user.roles, found.id), fresh))


@routes.post("/logout")
@operation("End this session", returns={204: None}, raises=(NotWhileActing,))
def post_logout() -> Response:
    who = own()
    with transaction() as session:
        sessions.end_session_of(session, user_id=who.user_id, session_id=who.session_id, reason="logout")
        return reply(None, 204)


@routes.post("/logout-all")
@operation("End all sessions", returns={204: None}, raises=(NotWhileActing,))
def post_logout_all() -> Response:
    user_id = own().user_id
    with transaction() as session:
        sessions.end_all_sessions(session, user_id=user_id, reason="logout_all")
        return reply(None, 204)


@routes.get("/sessions")
@operation("List live sessions", query=PageQuery, returns={200: SessionOut}, page=True)
def list_sessions(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_sessions(session, identity().user_id, query), SessionOut)


@routes.delete("/sessions/<id:session_id>")
@operation("End one session", returns={204: None}, raises=(NotFound, NotWhileActing))
def delete_session(session_id: str) -> Response:
    user_id = own().user_id
    with transaction() as session:
        sessions.end_session_of(session, user_id=user_id, session_id=session_id, reason="ended_by_user")
        return reply(None, 204)


@routes.post("/reauthenticate")
@operation(
    "Show again who is signed in",
    body=ProofIn,
    returns={204: None},
    raises=(InvalidCredentials, InvalidMfaCode, TooManyAttempts, NotWhileActing),
)
def post_reauthenticate(body: ProofIn) -> Response:
    """For some minutes the session may then change how the customer signs in, as after a sign-in. Who has a passkey
    may sign in with it instead."""
    who, limiter = own(), parts().limiter
    with reading() as session:
        user = queries.get_user(session, who.user_id)
        second_factor = queries.has_app(session, who.user_id)
    attempts = [tries("password", user.id), *([tries("mfa", user.id)] if second_factor else [])]
    limiter.admit(*attempts)
    right = parts().hashing.verify(body.password, user.password_hash)
    factor = not second_factor
    with transaction() as session:
        if right and second_factor:
            factor = mfa.check_factor(session, parts().vault, user_id=user.id, code=body.code or "")
        if right and factor:
            sessions.note_proof(session, user_id=user.id, session_id=who.session_id, client=client())
        else:
            sessions.note_failure(session, "session.proof.failed", user_id=user.id, client=client())
    if not right:
        raise InvalidCredentials()
    if not factor:
        raise InvalidMfaCode()
    limiter.settle(clear=attempts)
    return reply(None, 204)


@routes.get("/.well-known/jwks.json")
@operation("Public signing keys (RFC 7517)", returns={200: JwksOut}, roles=None)
def get_jwks() -> Response:
    return reply(parts().keys.jwks(), headers={"Cache-Control": "public, max-age=60"})
