"""What staff do: the catalogue, everybody's orders, the network's elements. Each act is kept: who, what, from where."""

from flask import Response, request

from common.db import PageQuery, reading, rerun_lost_race, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from provisioning import queries
from provisioning.cache import catalogue_cache
from provisioning.errors import OfferingCodeTaken, OfferingNotEditable, OrderNotRetryable
from provisioning.models import Element
from provisioning.routes.blueprint import routes
from provisioning.schemas import (
    AdminActOut,
    AdminOfferingOut,
    AdminOfferingsQuery,
    AdminOrderOut,
    AdminOrdersQuery,
    CommandOut,
    CommandsQuery,
    ElementOut,
    ElementsOut,
    HoldIn,
    OfferingIn,
)
from provisioning.use_cases import catalogue, network, orders
from provisioning.use_cases.audit import Actor


def actor() -> Actor:
    return Actor(identity().user_id, request.remote_addr or "")


@routes.get("/admin/offerings")
@operation(
    "Offerings in every state",
    query=AdminOfferingsQuery,
    returns={200: AdminOfferingOut},
    roles=("agent", "admin"),
    page=True,
)
def list_all_offerings(query: AdminOfferingsQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_all_offerings(session, query.state, query), AdminOfferingOut)


@routes.get("/admin/offerings/<id:offering_id>")
@operation("An offering in any state", returns={200: AdminOfferingOut}, roles=("agent", "admin"))
def get_any_offering(offering_id: str) -> Response:
    with reading() as session:
        return reply(AdminOfferingOut.of(queries.get_any_offering(session, offering_id)))


@routes.post("/admin/offerings")
@operation(
    "Draft an offering",
    body=OfferingIn,
    returns={201: AdminOfferingOut},
    roles=("admin",),
    raises=(OfferingCodeTaken,),
)
def post_offering(body: OfferingIn) -> Response:
    @rerun_lost_race
    def draft() -> Response:
        with transaction() as session:
            offering = catalogue.draft_offering(session, body, offering_id=work_id(), actor=actor())
            session.flush()
            return reply(AdminOfferingOut.of(offering), 201)

    return draft()


@routes.put("/admin/offerings/<id:offering_id>")
@operation(
    "Change an offering; orders keep what it was when they were placed",
    body=OfferingIn,
    returns={200: AdminOfferingOut},
    roles=("admin",),
    raises=(OfferingNotEditable,),
)
def put_offering(offering_id: str, body: OfferingIn) -> Response:
    with transaction() as session:
        offering = catalogue.change_offering(session, body, offering_id=offering_id, actor=actor())
        session.flush()
        answer = reply(AdminOfferingOut.of(offering))
    catalogue_cache().drop()
    return answer


@routes.post("/admin/offerings/<id:offering_id>/activate")
@operation(
    "Put a draft on sale",
    returns={200: AdminOfferingOut},
    roles=("admin",),
    raises=(OfferingNotEditable,),
)
def post_offering_activate(offering_id: str) -> Response:
    with transaction() as session:
        offering = catalogue.put_offering_on_sale(session, offering_id=offering_id, actor=actor())
        session.flush()
        answer = reply(AdminOfferingOut.of(offering))
    catalogue_cache().drop()
    return answer


@routes.post("/admin/offerings/<id:offering_id>/retire")
@operation(
    "Sell an offering no longer; what was sold goes on",
    returns={200: AdminOfferingOut},
    roles=("admin",),
    raises=(OfferingNotEditable,),
)
def post_offering_retire(offering_id: str) -> Response:
    with transaction() as session:
        offering = catalogue.retire_offering(session, offering_id=offering_id, actor=actor())
        session.flush()
        answer = reply(AdminOfferingOut.of(offering))
    catalogue_cache().drop()
    return answer


@routes.delete("/admin/offerings/<id:offering_id>")
@operation("Discard a draft", returns={204: None}, roles=("admin",), raises=(OfferingNotEditable,))
def delete_offering(offering_id: str) -> Response:
    with transaction() as session:
        catalogue.discard_draft(session, offering_id=offering_id, actor=actor())
        return reply(None, 204)


@routes.get("/admin/network-elements")
@operation(
    "The network elements and how calling them goes", returns={200: ElementsOut}, roles=("agent", "admin")
)
def list_network_elements() -> Response:
    with reading() as session:
        return reply(ElementsOut(items=[ElementOut(**one) for one in queries.list_elements(session)]))


@routes.patch("/admin/network-elements/<element>")
@operation(
    "Hold an element (its commands wait) or release it",
    body=HoldIn,
    returns={200: ElementsOut},
    roles=("admin",),
    raises=(NotFound,),
)
def patch_network_element(element: str, body: HoldIn) -> Response:
    if element not in set(Element):
        raise NotFound()
    with transaction() as session:
        network.hold_element(session, kind=Element(element), held=body.held, actor=actor())
        session.flush()
        return reply(ElementsOut(items=[ElementOut(**one) for one in queries.list_elements(session)]))


@routes.get("/admin/commands")
@operation(
    "What elements were told or are to be, with what came of it",
    query=CommandsQuery,
    returns={200: CommandOut},
    roles=("agent", "admin"),
    page=True,
)
def list_commands(query: CommandsQuery) -> Response:
    with reading() as session:
        found = queries.list_commands(
            session, state=query.state, element=query.element, user_id=query.user_id, query=query
        )
        return reply_page(found, CommandOut)


@routes.get("/admin/audit-log")
@operation("What staff did here", query=PageQuery, returns={200: AdminActOut}, roles=("admin",), page=True)
def list_acts(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_acts(session, query), AdminActOut)


@routes.get("/admin/orders")
@operation(
    "Orders of all customers",
    query=AdminOrdersQuery,
    returns={200: AdminOrderOut},
    roles=("agent", "admin"),
    page=True,
)
def list_all_orders(query: AdminOrdersQuery) -> Response:
    with reading() as session:
        found = queries.list_all_orders(
            session, user_id=query.user_id, state=query.state, number=query.number, query=query
        )
        return reply_page(found, AdminOrderOut)


@routes.post("/admin/orders/<id:order_id>/retry")
@operation(
    "Tell the network of an order again now, instead of after the pause",
    returns={202: AdminOrderOut},
    roles=("agent", "admin"),
    raises=(OrderNotRetryable,),
)
def post_order_retry(order_id: str) -> Response:
    with transaction() as session:
        order = orders.retry_order(session, order_id=order_id, actor=actor())
        return reply(AdminOrderOut.of(order), 202)
