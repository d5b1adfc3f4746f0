"""Saved cards."""

from flask import Response

from common.db import PageQuery, reading, transaction
from common.errors import NotFound, ServiceUnavailable
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.errors import CardDeclined
from payment.models import MethodState
from payment.routes.blueprint import routes
from payment.routes.paying import leave_card
from payment.schemas import CardIn, SavedMethodOut
from payment.use_cases import methods


@routes.post("/methods")
@operation(
    "Save a card",
    body=CardIn,
    returns={201: SavedMethodOut},
    roles=("customer",),
    raises=(CardDeclined, ServiceUnavailable),
)
def post_method(body: CardIn) -> Response:
    """The card is left at the gateway; what is kept here is a token, the brand, the last four digits, the expiry."""
    card = body.card()
    with reading() as session:
        known = queries.find_method(session, work_id())
        if known is not None:
            return reply(SavedMethodOut.of(known), 201)
    left = leave_card(card)
    with transaction() as session:
        methods.take_card(session, left.key)
        method = methods.save_method(
            session,
            method_id=work_id(),
            user_id=identity().user_id,
            gateway=left.gateway,
            card=card,
            left=left.token,
            state=MethodState.ACTIVE,
        )
        return reply(SavedMethodOut.of(method), 201)


@routes.get("/methods")
@operation("List saved cards", query=PageQuery, returns={200: SavedMethodOut}, roles=("customer",), page=True)
def list_methods(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_methods(session, identity().user_id, query), SavedMethodOut)


@routes.delete("/methods/<id:method_id>")
@operation("Remove a saved card", returns={204: None}, roles=("customer",), raises=(NotFound,))
def delete_method(method_id: str) -> Response:
    """It cannot be used from now on; the gateway forgets it within moments."""
    with transaction() as session:
        methods.remove_method(session, method_id=method_id, user_id=identity().user_id)
    return reply(None, 204)
