"""Postal addresses and lines: `/me/addresses`, `/me/lines`."""

from flask import Response

from auth import queries
from auth.errors import InvalidCode, LineTaken, NothingToVerify, NotWhileActing, TooMany, TooManyAttempts
from auth.models import Purpose
from auth.parts import parts
from auth.routes.base import client, codes_to, guess_code, own, per_minute, routes, send_code, wrong_code
from auth.schemas.accounts import CodeIn, SentOut
from auth.schemas.contacts import AddressChangeIn, AddressIn, AddressOut, LineIn, LineOut
from auth.use_cases import contacts
from common.db import PageQuery, reading, rerun_lost_race, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id


@routes.get("/me/addresses")
@operation("List postal addresses", query=PageQuery, returns={200: AddressOut}, page=True)
def list_addresses(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_addresses(session, identity().user_id, query), AddressOut)


@routes.post("/me/addresses")
@operation("Add a postal address", body=AddressIn, returns={201: AddressOut}, raises=(TooMany,))
def post_address(body: AddressIn) -> Response:
    with transaction() as session:
        address = contacts.add_address(
            session, user_id=identity().user_id, address_id=work_id(), fields=body.model_dump()
        )
        return reply(AddressOut.of(address), 201)


@routes.get("/me/addresses/<id:address_id>")
@operation("One postal address", returns={200: AddressOut})
def get_address(address_id: str) -> Response:
    with reading() as session:
        return reply(AddressOut.of(queries.get_address(session, identity().user_id, address_id)))


@routes.patch("/me/addresses/<id:address_id>")
@operation("Change a postal address", body=AddressChangeIn, returns={200: AddressOut})
def patch_address(address_id: str, body: AddressChangeIn) -> Response:
    with transaction() as session:
        address = contacts.change_address(
            session, user_id=identity().user_id, address_id=address_id, fields=body.changes()
        )
        return reply(AddressOut.of(address))


@routes.delete("/me/addresses/<id:address_id>")
@operation("Remove a postal address", returns={204: None})
def delete_address(address_id: str) -> Response:
    with transaction() as session:
        contacts.remove_address(session, user_id=identity().user_id, address_id=address_id)
        return reply(None, 204)


@routes.get("/me/lines")
@operation("List further numbers of the account", query=PageQuery, returns={200: LineOut}, page=True)
def list_lines(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_lines(session, identity().user_id, query), LineOut)


@routes.post("/me/lines")
@operation(
    "Claim a further number",
    body=LineIn,
    returns={201: LineOut},
    raises=(LineTaken, TooMany, NotWhileActing),
)
def post_line(body: LineIn) -> Response:
    """It is the account's once a code that was sent to it is given."""
    user_id = own().user_id
    with transaction() as session:
        line = contacts.claim_line(
            session, user_id=user_id, line_id=work_id(), msisdn=body.phone, label=body.label
        )
        return reply(LineOut.of(line), 201)


@routes.post("/me/lines/<id:line_id>/request")
@operation(
    "Have a code sent to the number",
    returns={202: SentOut},
    raises=(NothingToVerify, TooManyAttempts, NotWhileActing, NotFound),
)
def post_line_request(line_id: str) -> Response:
    user_id = own().user_id
    with reading() as session:
        msisdn = contacts.line_to_verify(session, user_id=user_id, line_id=line_id).msisdn
    parts().limiter.admit(per_minute(client()), *codes_to(Purpose.LINE_VERIFICATION, msisdn))
    with transaction() as session:
        expires_at = send_code(session, queries.get_user(session, user_id), Purpose.LINE_VERIFICATION, msisdn)
        return reply(SentOut(expires_at=expires_at), 202)


@routes.post("/me/lines/<id:line_id>/verify")
@operation(
    "Give the code that was sent to the number",
    body=CodeIn,
    returns={200: LineOut},
    raises=(InvalidCode, LineTaken, NothingToVerify, NotWhileActing, NotFound),
)
def post_line_verify(line_id: str, body: CodeIn) -> Response:
    user_id = own().user_id

    @rerun_lost_race
    def verify() -> Response | None:
        with transaction() as session:
            line = contacts.line_to_verify(session, user_id=user_id, line_id=line_id)
            if not guess_code(session, user_id, Purpose.LINE_VERIFICATION, line.msisdn, body.code):
                return None
            contacts.mark_line_verified(session, user=queries.get_user(session, user_id), line=line)
            return reply(LineOut.of(line))

    answer = verify()
    if answer is None:
        raise wrong_code()
    return answer


@routes.delete("/me/lines/<id:line_id>")
@operation("Give up a number", returns={204: None}, raises=(NotWhileActing,))
def delete_line(line_id: str) -> Response:
    user_id = own().user_id
    with transaction() as session:
        contacts.remove_line(session, user_id=user_id, line_id=line_id)
        return reply(None, 204)
