"""Verification of the account's own number and address, and a new number."""

from flask import Response

from auth import queries
from auth.errors import (
    FreshProofRequired,
    InvalidCode,
    NothingToVerify,
    NotWhileActing,
    PhoneAlreadyRegistered,
    TooManyAttempts,
)
from auth.models import Channel, Purpose
from auth.parts import parts
from auth.routes.base import (
    client,
    codes_to,
    fresh,
    guess_code,
    own,
    per_minute,
    routes,
    send_code,
    wrong_code,
)
from auth.schemas.accounts import CodeIn, PhoneCodeIn, PhoneIn, SentOut, UserOut
from auth.use_cases import codes, contacts
from common.db import reading, rerun_lost_race, transaction
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
    user_id, (channel, purpose) = own().user_id, PURPOSES[what]
    with reading() as session:
        target = codes.target_to_verify(queries.get_user(session, user_id), channel)
    parts().limiter.admit(per_minute(client()), *codes_to(purpose, target))
    with transaction() as session:
        expires_at = send_code(session, queries.get_user(session, user_id), purpose, target)
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
        right = guess_code(session, user_id, purpose, target, body.code)
        if right:
            user = codes.mark_verified(session, user_id=user_id, channel=channel, target=target)
            answer = reply(UserOut.of(user))
    if not right:
        raise wrong_code()
    return answer


@routes.post("/me/phone")
@operation(
    "Have a code sent to a new number for the account",
    body=PhoneIn,
    returns={202: SentOut},
    raises=(PhoneAlreadyRegistered, TooManyAttempts, NotWhileActing, FreshProofRequired),
)
def post_phone(body: PhoneIn) -> Response:
    """It is the account's number, and the one to sign in with, once the code is given to `/me/phone/verify`."""
    user_id = fresh().user_id
    parts().limiter.admit(per_minute(client()))
    with reading() as session:
        contacts.refuse_taken_phone(session, user_id=user_id, phone=body.phone)
    parts().limiter.admit(*codes_to(Purpose.PHONE_CHANGE, body.phone))
    with transaction() as session:
        expires_at = send_code(session, queries.get_user(session, user_id), Purpose.PHONE_CHANGE, body.phone)
        return reply(SentOut(expires_at=expires_at), 202)


@routes.post("/me/phone/verify")
@operation(
    "Give the code that was sent to the new number",
    body=PhoneCodeIn,
    returns={200: UserOut},
    raises=(InvalidCode, PhoneAlreadyRegistered, NotWhileActing),
)
def post_phone_verify(body: PhoneCodeIn) -> Response:
    """The old number is told, and free."""
    user_id = own().user_id

    @rerun_lost_race
    def change() -> Response | None:
        with transaction() as session:
            if not guess_code(session, user_id, Purpose.PHONE_CHANGE, body.phone, body.code):
                return None
            return reply(UserOut.of(contacts.change_phone(session, user_id=user_id, phone=body.phone)))

    answer = change()
    if answer is None:
        raise wrong_code()
    return answer
