"""Verification of the account's own number and address."""

from flask import Response

from auth import queries
from auth.errors import InvalidCode, NothingToVerify, NotWhileActing, TooManyAttempts
from auth.models import Channel, Purpose
from auth.parts import parts
from auth.routes.base import client, codes_to, own, per_minute, routes
from auth.schemas.accounts import CodeIn, SentOut, UserOut
from auth.use_cases import codes
from common.db import reading, transaction
from common.web import operation, reply

PURPOSES = {
    "phone": (Channel.SMS, Purpose.PHONE_VERIFICATION),
    "email": (Channel.EMAIL, Purpose.EMAIL_VERIFICATION),
}


@routes.post("/verify/<any(phone, email):what>/request")
@operation(
    "Have a code sent to the account's number or address",
    returns={202: SentOut},
    raises=(NothingToVerify, TooManyAttempts, NotWhileActing),
)
def post_verify_request(what: str) -> Response:
    """The code travels in the message only."""
    user_id, (channel, purpose), settings = own().user_id, PURPOSES[what], parts().settings
    with reading() as session:
        target = codes.target_to_verify(queries.get_user(session, user_id), channel)
    parts().limiter.admit(per_minute(client()), *codes_to(purpose, target))
    with transaction() as session:
        expires_at = codes.send_code(
            session,
            parts().vault,
            user=queries.get_user(session, user_id),
            purpose=purpose,
            target=target,
            life=settings.code_life,
            tries=settings.code_tries,
        )
        return reply(SentOut(expires_at=expires_at), 202)


@routes.post("/verify/<any(phone, email):what>")
@operation(
    "Give the code",
    body=CodeIn,
    returns={200: UserOut},
    raises=(InvalidCode, NothingToVerify, NotWhileActing),
)
def post_verify(what: str, body: CodeIn) -> Response:
    user_id, (channel, purpose) = own().user_id, PURPOSES[what]
    with transaction() as session:
        target = codes.target_to_verify(queries.get_user(session, user_id), channel)
        right = codes.guess_code(
            session, parts().vault, purpose=purpose, target=target, code=body.code, user_id=user_id
        )
        if right is not None:
            user = codes.mark_verified(session, user_id=user_id, channel=channel, target=target)
            answer = reply(UserOut.of(user))
    if right is None:
        raise InvalidCode(errors=[{"field": "code", "message": "wrong, used or too old"}])
    return answer
