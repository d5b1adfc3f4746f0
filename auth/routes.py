"""HTTP in: `/api/auth`."""

import secrets
from datetime import timedelta

from flask import Blueprint, Response, current_app, request
from flask_jwt_extended import create_access_token

from auth import queries, use_cases
from auth.config import Settings
from auth.errors import (
    ERRORS,
    EmailAlreadyRegistered,
    InvalidCredentials,
    InvalidRefreshToken,
    PhoneAlreadyRegistered,
)
from auth.keys import KeyRing
from auth.models import User
from auth.passwords import hash_password, verify_password
from auth.schemas import JwksOut, LoginIn, ProfileIn, RefreshIn, RegisterIn, SessionOut, TokensOut, UserOut
from common import ids
from common.db import PageQuery, reading, rerun_lost_race, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id

__all__ = ["ERRORS", "routes"]
routes = Blueprint("auth", __name__)


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _keys() -> KeyRing:
    found: KeyRing = current_app.extensions["sricare_keys"]
    return found


def _client() -> dict[str, str]:
    return {"user_agent": request.headers.get("User-Agent", ""), "ip": request.remote_addr or ""}


def _tokens(user_id: str, roles: list[str], session_id: str) -> str:
    token: str = create_access_token(
        identity=user_id,
        additional_claims={"roles": roles, "sid": session_id},
        additional_headers={"kid": _keys().signing_key().kid},
        expires_delta=timedelta(seconds=_settings().access_token_s),
    )
    return token


def _answer(user: User, access_token: str, refresh_token: str) -> TokensOut:
    return TokensOut(
        user=UserOut.of(user),
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=_settings().access_token_s,
    )


@routes.post("/register")
@operation(
    "Open an account and sign in",
    body=RegisterIn,
    returns={201: TokensOut},
    roles=None,
    raises=(PhoneAlreadyRegistered, EmailAlreadyRegistered),
)
def post_register(body: RegisterIn) -> Response:
    password_hash = hash_password(body.password)
    user_id, session_id, refresh_token = work_id(), ids.new_id(), secrets.token_urlsafe(32)
    access_token = _tokens(user_id, ["customer"], session_id)

    @rerun_lost_race
    def register() -> Response:
        with transaction() as session:
            user = use_cases.register_user(
                session,
                user_id=user_id,
                phone=body.phone,
                email=body.email,
                name=body.name,
                language=body.language,
                password_hash=password_hash,
            )
            use_cases.start_session(
                session,
                session_id=session_id,
                user_id=user_id,
                refresh_token=refresh_token,
                life=timedelta(seconds=_settings().refresh_token_s),
                **_client(),
            )
            return reply(_answer(user, access_token, refresh_token), 201)

    return register()


@routes.post("/login")
@operation(
    "Sign in by phone or email",
    body=LoginIn,
    returns={200: TokensOut},
    roles=None,
    raises=(InvalidCredentials,),
)
def post_login(body: LoginIn) -> Response:
    with reading() as session:
        user = queries.find_login(session, phone=body.phone, email=body.email)
    if (
        not verify_password(body.password, user.password_hash if user else None)
        or user is None
        or not user.active
    ):
        raise InvalidCredentials()
    session_id, refresh_token = ids.new_id(), secrets.token_urlsafe(32)
    access_token = _tokens(user.id, user.roles, session_id)
    with transaction() as session:
        use_cases.start_session(
            session,
            session_id=session_id,
            user_id=user.id,
            refresh_token=refresh_token,
            life=timedelta(seconds=_settings().refresh_token_s),
            **_client(),
        )
        return reply(_answer(user, access_token, refresh_token))


@routes.post("/refresh")
@operation(
    "Exchange the refresh token",
    body=RefreshIn,
    returns={200: TokensOut},
    roles=None,
    raises=(InvalidRefreshToken,),
)
def post_refresh(body: RefreshIn) -> Response:
    settings = _settings()
    successor = _keys().successor(body.refresh_token)
    with transaction() as session:
        found = use_cases.rotate_refresh_token(
            session,
            presented=body.refresh_token,
            successor=successor,
            grace=timedelta(seconds=settings.refresh_grace_s),
            life=timedelta(seconds=settings.refresh_token_s),
            **_client(),
        )
        user = found.user
    use_cases.refuse_reuse(found)
    return reply(_answer(user, _tokens(user.id, user.roles, found.id), successor))


@routes.post("/logout")
@operation("End this session", returns={204: None})
def post_logout() -> Response:
    who = identity()
    with transaction() as session:
        use_cases.end_session_of(session, user_id=who.user_id, session_id=who.session_id, reason="logout")
        return reply(None, 204)


@routes.post("/logout-all")
@operation("End all sessions", returns={204: None})
def post_logout_all() -> Response:
    with transaction() as session:
        use_cases.end_all_sessions(session, user_id=identity().user_id, reason="logout_all")
        return reply(None, 204)


@routes.get("/sessions")
@operation("List live sessions", query=PageQuery, returns={200: SessionOut}, page=True)
def list_sessions(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_sessions(session, identity().user_id, query), SessionOut)


@routes.delete("/sessions/<id:session_id>")
@operation("End one session", returns={204: None}, raises=(NotFound,))
def delete_session(session_id: str) -> Response:
    with transaction() as session:
        use_cases.end_session_of(
            session, user_id=identity().user_id, session_id=session_id, reason="ended_by_user"
        )
        return reply(None, 204)


@routes.get("/me")
@operation("The signed-in user", returns={200: UserOut})
def get_me() -> Response:
    with reading() as session:
        return reply(UserOut.of(queries.get_user(session, identity().user_id)))


@routes.patch("/me")
@operation("Change name or language", body=ProfileIn, returns={200: UserOut})
def patch_me(body: ProfileIn) -> Response:
    with transaction() as session:
        user = use_cases.update_profile(
            session, user_id=identity().user_id, name=body.name, language=body.language
        )
        return reply(UserOut.of(user))


@routes.delete("/me")
@operation("Close the account", returns={204: None})
def delete_me() -> Response:
    with transaction() as session:
        use_cases.deactivate_user(session, user_id=identity().user_id, reason="closed_by_user")
        return reply(None, 204)


@routes.get("/.well-known/jwks.json")
@operation("Public signing keys (RFC 7517)", returns={200: JwksOut}, roles=None)
def get_jwks() -> Response:
    return reply(_keys().jwks(), headers={"Cache-Control": "public, max-age=60"})
