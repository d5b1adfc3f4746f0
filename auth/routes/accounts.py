"""Registration, profile, closing, passwords."""

from flask import Response

from auth import queries
from auth.errors import (
    EmailAlreadyRegistered,
    FreshProofRequired,
    InvalidCode,
    InvalidCredentials,
    NotWhileActing,
    PhoneAlreadyRegistered,
    TooManyAttempts,
    WeakPassword,
)
from auth.models import Purpose
from auth.parts import parts
from auth.passwords import refuse_weak
from auth.routes.base import (
    SignIn,
    client,
    codes_to,
    fresh,
    login_tries,
    own,
    per_minute,
    routes,
    send_code,
    tries,
    wrong_code,
)
from auth.schemas.accounts import (
    AcceptedOut,
    ForgotIn,
    PasswordChangeIn,
    ProfileIn,
    RegisterIn,
    ResetIn,
    UserOut,
)
from auth.schemas.sessions import TokensOut
from auth.use_cases import accounts, passwords
from common.db import reading, rerun_lost_race, snapshot, transaction
from common.identity import Identity, identity
from common.web import operation, reply, work_id


@routes.post("/register")
@operation(
    "Open an account and sign in",
    body=RegisterIn,
    returns={201: TokensOut},
    roles=None,
    raises=(PhoneAlreadyRegistered, EmailAlreadyRegistered, WeakPassword, TooManyAttempts),
)
def post_register(body: RegisterIn) -> Response:
    who = client()
    parts().limiter.admit(per_minute(who))
    refuse_weak(body.password, body.phone, body.name, body.email)
    password_hash = parts().hashing.hash(body.password)
    user_id = work_id()
    sign_in = SignIn.of(user_id, ["customer"])

    @rerun_lost_race
    def register() -> Response:
        with transaction() as session:
            user = accounts.register_user(
                session,
                user_id=user_id,
                phone=body.phone,
                email=body.email,
                name=body.name,
                language=body.language,
                password_hash=password_hash,
            )
            return reply(sign_in.start(session.connection(), user, who), 201)

    return register()


@routes.get("/me")
@operation("The signed-in user", returns={200: UserOut})
def get_me() -> Response:
    with snapshot() as connection:
        return reply(UserOut.of(queries.get_profile(connection, identity().user_id)))


@routes.patch("/me")
@operation(
    "Change name, language or email address",
    body=ProfileIn,
    returns={200: UserOut},
    raises=(EmailAlreadyRegistered, NotWhileActing, FreshProofRequired),
)
def patch_me(body: ProfileIn) -> Response:
    """A new email address is to be verified again."""
    user_id = fresh().user_id if body.email is not None else identity().user_id

    @rerun_lost_race
    def change() -> Response:
        with transaction() as session:
            user = accounts.update_profile(
                session, user_id=user_id, name=body.name, language=body.language, email=body.email
            )
            return reply(UserOut.of(user))

    return change()


@routes.delete("/me")
@operation("Close the account", returns={204: None}, raises=(NotWhileActing, FreshProofRequired))
def delete_me() -> Response:
    """Number and address are free again at once."""
    user_id = fresh().user_id
    with transaction() as session:
        user = accounts.deactivate_user(session, user_id=user_id, reason="closed_by_user")
        accounts.release_contacts(session, user)
        return reply(None, 204)


@routes.post("/password/change")
@operation(
    "Change the password",
    body=PasswordChangeIn,
    returns={204: None},
    raises=(InvalidCredentials, WeakPassword, TooManyAttempts, NotWhileActing),
)
def post_password_change(body: PasswordChangeIn) -> Response:
    """All other sessions end. The current password is asked for, under the same limits as at sign-in."""
    who = own()
    attempts = tries("password", who.user_id)
    parts().limiter.admit(attempts)
    answer = None
    while answer is None:  # once more when the password was changed while it was being verified
        with reading() as session:
            user = queries.get_user(session, who.user_id)
        stored = user.password_hash if user.active else None
        if not parts().hashing.verify(body.current_password, stored):
            raise InvalidCredentials()
        parts().limiter.settle(clear=[attempts])
        refuse_weak(body.new_password, user.phone, user.name, user.email, field="new_password")
        answer = _change_password(who, user.password_hash, parts().hashing.hash(body.new_password))
    return answer


def _change_password(who: Identity, verified: str, password_hash: str) -> Response | None:
    with transaction() as session:
        changed = passwords.change_password(
            session,
            user_id=who.user_id,
            verified=verified,
            password_hash=password_hash,
            but_session=who.session_id,
        )
        return reply(None, 204) if changed else None


@routes.post("/password/forgot")
@operation(
    "Ask for a code to reset the password",
    body=ForgotIn,
    returns={202: AcceptedOut},
    roles=None,
    raises=(TooManyAttempts,),
)
def post_password_forgot(body: ForgotIn) -> Response:
    """Always 202 but for an address that asks too much: nobody learns who has an account, or who asked before."""
    limiter = parts().limiter
    limiter.admit(per_minute(client()))
    try:
        limiter.admit(*codes_to(Purpose.PASSWORD_RESET, body.identifier))
    except TooManyAttempts:
        return reply(AcceptedOut(), 202)
    with transaction() as session:
        user = queries.find_login(session, phone=body.phone, email=body.email)
        owner = user if user is not None and user.active else None
        send_code(session, owner, Purpose.PASSWORD_RESET, body.identifier)
        return reply(AcceptedOut(), 202)


@routes.post("/password/reset")
@operation(
    "Set a new password by a code",
    body=ResetIn,
    returns={204: None},
    roles=None,
    raises=(InvalidCode, WeakPassword, TooManyAttempts),
)
def post_password_reset(body: ResetIn) -> Response:
    """All sessions end, everywhere."""
    parts().limiter.admit(per_minute(client()))
    refuse_weak(body.new_password, body.phone, body.email, field="new_password")
    password_hash = parts().hashing.hash(body.new_password)
    with transaction() as session:
        user = passwords.reset_password(
            session,
            parts().vault,
            target=body.identifier,
            code=body.code,
            password=body.new_password,
            password_hash=password_hash,
        )
        if user is not None:
            answer = reply(None, 204)
    if user is None:
        raise wrong_code()
    names = [each for each in (user.phone, user.email) if each]
    parts().limiter.settle(clear=[claim for name in names for claim in login_tries(name, user.id)])
    return answer
