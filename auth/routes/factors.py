"""Authenticator apps and passkeys."""

import base64
import secrets

from flask import Response

from auth import queries
from auth.errors import (
    FreshProofRequired,
    InvalidCode,
    InvalidPasskey,
    MfaAlreadyOn,
    MfaNotOn,
    NotWhileActing,
    PasskeyAlreadyRegistered,
    TooMany,
    TooManyAttempts,
)
from auth.models import Passkey
from auth.parts import parts
from auth.routes.base import SignIn, client, fresh, own, per_minute, routes, tries
from auth.schemas.accounts import CodeIn
from auth.schemas.factors import (
    CeremonyOut,
    PasskeyLoginIn,
    PasskeyOut,
    PasskeyRegistrationIn,
    RecoveryCodesOut,
    TotpOut,
)
from auth.schemas.sessions import TokensOut
from auth.use_cases import mfa, passkeys
from auth.use_cases.sessions import note_login
from common import ids
from common.db import PageQuery, reading, transaction
from common.identity import identity
from common.web import operation, reply, reply_page

_SECRET_BYTES = 20
_CHALLENGE_BYTES = 32


@routes.post("/mfa/totp")
@operation(
    "Begin with an authenticator app",
    returns={200: TotpOut},
    raises=(MfaAlreadyOn, NotWhileActing, FreshProofRequired),
)
def post_totp() -> Response:
    """In force once a code of the app is confirmed."""
    user_id, secret = fresh().user_id, secrets.token_bytes(_SECRET_BYTES)
    with transaction() as session:
        uri = mfa.begin_totp(session, parts().vault, queries.get_user(session, user_id), secret)
        return reply(TotpOut(secret=base64.b32encode(secret).decode(), otpauth_uri=uri))


@routes.post("/mfa/totp/confirm")
@operation(
    "Confirm the authenticator app",
    body=CodeIn,
    returns={200: RecoveryCodesOut},
    raises=(InvalidCode, MfaAlreadyOn, MfaNotOn, TooManyAttempts, NotWhileActing),
)
def post_totp_confirm(body: CodeIn) -> Response:
    user_id = own().user_id
    attempts = tries("mfa", user_id)
    parts().limiter.admit(attempts)
    with transaction() as session:
        codes = mfa.confirm_totp(session, parts().vault, user_id=user_id, code=body.code, client=client())
        answer = reply(RecoveryCodesOut(recovery_codes=codes))
    parts().limiter.settle(clear=[attempts])
    return answer


@routes.delete("/mfa/totp")
@operation(
    "Do without the authenticator app",
    returns={204: None},
    raises=(MfaNotOn, NotWhileActing, FreshProofRequired),
)
def delete_totp() -> Response:
    user_id = fresh().user_id
    with transaction() as session:
        mfa.remove_totp(session, user_id=user_id, client=client())
        return reply(None, 204)


@routes.post("/passkeys/register/options")
@operation("Begin to make a passkey", returns={200: CeremonyOut}, raises=(NotWhileActing, FreshProofRequired))
def post_passkey_register_options() -> Response:
    """`options` is for `navigator.credentials.create`."""
    user_id, challenge, ceremony_id = fresh().user_id, secrets.token_bytes(_CHALLENGE_BYTES), ids.new_id()
    with transaction() as session:
        user = queries.get_user(session, user_id)
        options = parts().relying_party.registration_options(
            user, queries.credential_ids(session, user_id), challenge
        )
        passkeys.begin_ceremony(session, ceremony_id=ceremony_id, user_id=user_id, challenge=challenge)
        return reply(CeremonyOut(ceremony_id=ceremony_id, options=options))


@routes.post("/passkeys/register/verify")
@operation(
    "Finish making a passkey",
    body=PasskeyRegistrationIn,
    returns={201: PasskeyOut},
    raises=(InvalidPasskey, PasskeyAlreadyRegistered, TooMany, NotWhileActing),
)
def post_passkey_register_verify(body: PasskeyRegistrationIn) -> Response:
    user_id = own().user_id
    with transaction() as session:
        challenge = passkeys.take_challenge(session, ceremony_id=body.ceremony_id, user_id=user_id)
    made = parts().relying_party.registered(body.credential, challenge)
    passkey = Passkey(
        id=ids.new_id(),
        user_id=user_id,
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        backed_up=made.backed_up,
        name=body.name,
    )
    with transaction() as session:
        passkeys.add_passkey(session, passkey, client=client())
        return reply(PasskeyOut.of(passkey), 201)


@routes.post("/passkeys/login/options")
@operation(
    "Begin to sign in with a passkey", returns={200: CeremonyOut}, roles=None, raises=(TooManyAttempts,)
)
def post_passkey_login_options() -> Response:
    """`options` is for `navigator.credentials.get`; they name no account."""
    parts().limiter.admit(per_minute(client()))
    challenge, ceremony_id = secrets.token_bytes(_CHALLENGE_BYTES), ids.new_id()
    options = parts().relying_party.sign_in_options(challenge)
    with transaction() as session:
        passkeys.begin_ceremony(session, ceremony_id=ceremony_id, user_id=None, challenge=challenge)
        return reply(CeremonyOut(ceremony_id=ceremony_id, options=options))


@routes.post("/passkeys/login/verify")
@operation(
    "Sign in with a passkey",
    body=PasskeyLoginIn,
    returns={200: TokensOut},
    roles=None,
    raises=(InvalidPasskey, TooManyAttempts),
)
def post_passkey_login_verify(body: PasskeyLoginIn) -> Response:
    """The authenticator has verified its user, so no second factor is asked for."""
    who = client()
    parts().limiter.admit(per_minute(who))
    with transaction() as session:
        challenge = passkeys.take_challenge(session, ceremony_id=body.ceremony_id, user_id=None)
    with reading() as session:
        passkey = queries.find_passkey(session, str(body.credential.get("id", ""))[:1400])
        if passkey is None:
            raise InvalidPasskey()
        user = passkey.user
    count = parts().relying_party.signed_in(body.credential, challenge, passkey)
    sign_in = SignIn.of(user.id, user.roles)
    with transaction() as session:
        user = passkeys.use_passkey(session, passkey_id=passkey.id, sign_count=count)
        answer = reply(sign_in.start(session.connection(), user, who))
        note_login(session.connection(), user.id, method="passkey", client=who)
        return answer


@routes.get("/passkeys")
@operation("List passkeys", query=PageQuery, returns={200: PasskeyOut}, page=True)
def list_passkeys(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_passkeys(session, identity().user_id, query), PasskeyOut)


@routes.delete("/passkeys/<id:passkey_id>")
@operation("Remove a passkey", returns={204: None}, raises=(NotWhileActing, FreshProofRequired))
def delete_passkey(passkey_id: str) -> Response:
    user_id = fresh().user_id
    with transaction() as session:
        passkeys.remove_passkey(session, user_id=user_id, passkey_id=passkey_id, client=client())
        return reply(None, 204)
