"""What customers do: the catalogue, their orders, their services."""

import orjson
from flask import Response

from common.db import reading, rerun_lost_race, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from provisioning import queries
from provisioning.cache import cached
from provisioning.errors import (
    AccountBarred,
    AccountClosed,
    AlreadyActive,
    ExcludedByService,
    ItemNotAvailable,
    KycRequired,
    OrderNotCancellable,
    OutOfStock,
    RequiresService,
    ServiceNotLive,
    ServiceNotRenewable,
)
from provisioning.routes.blueprint import routes
from provisioning.schemas import (
    EligibilityOut,
    OfferingOut,
    OfferingsQuery,
    OrderDetailOut,
    OrderIn,
    OrderOut,
    OrdersQuery,
    ServiceIn,
    ServiceOut,
    ServicesQuery,
)
from provisioning.use_cases import orders, services
from provisioning.use_cases.eligibility import obstacles


@routes.get("/offerings")
@operation("The catalogue", query=OfferingsQuery, returns={200: OfferingOut}, roles=None, page=True)
def list_offerings(query: OfferingsQuery) -> Response:
    def page() -> bytes:
        with reading() as session:
            found = queries.list_offerings(session, query.category, query)
        return orjson.dumps({"items": found.items, "next_cursor": found.next_cursor})

    if query.cursor is not None:
        return reply(page())
    return reply(cached(f"{query.category or ''}:{query.limit}", page))


@routes.get("/offerings/<id:offering_id>")
@operation("An offering", returns={200: OfferingOut}, roles=None)
def get_offering(offering_id: str) -> Response:
    with reading() as session:
        return reply(OfferingOut.of(queries.get_offering(session, offering_id)))


@routes.get("/offerings/<id:offering_id>/eligibility")
@operation(
    "Whether an order of it would be accepted, and why not",
    returns={200: EligibilityOut},
    roles=("customer",),
)
def get_eligibility(offering_id: str) -> Response:
    with reading() as session:
        offering = queries.get_offering(session, offering_id)
        return reply(EligibilityOut.of(obstacles(session, user_id=identity().user_id, offering=offering)))


@routes.post("/orders")
@operation(
    "Order an offering",
    body=OrderIn,
    returns={201: OrderDetailOut},
    roles=("customer",),
    idempotent=True,
    raises=(
        AccountBarred,
        AccountClosed,
        AlreadyActive,
        ExcludedByService,
        ItemNotAvailable,
        KycRequired,
        NotFound,
        OutOfStock,
        RequiresService,
    ),
)
def post_order(body: OrderIn) -> Response:
    @rerun_lost_race
    def place() -> Response:
        with transaction() as session:
            order = orders.place_order(
                session,
                order_id=work_id(),
                user_id=identity().user_id,
                offering_id=body.offering_id,
                characteristics=dict(body.characteristics),
                starts_at=body.starts_at,
            )
            return reply(OrderDetailOut.told(order, queries.history_of(session, order)), 201)

    return place()


@routes.get("/orders")
@operation("Own orders", query=OrdersQuery, returns={200: OrderOut}, roles=("customer",), page=True)
def list_orders(query: OrdersQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_orders(session, identity().user_id, query.state, query))


@routes.get("/orders/<id:order_id>")
@operation("An order with its history", returns={200: OrderDetailOut}, roles=("customer",))
def get_order(order_id: str) -> Response:
    with reading() as session:
        order = queries.get_order(session, order_id, identity().user_id)
        return reply(OrderDetailOut.told(order, queries.history_of(session, order)))


@routes.post("/orders/<id:order_id>/cancel")
@operation(
    "Cancel an order that the network has not been told of; what was paid goes back",
    returns={200: OrderDetailOut},
    roles=("customer",),
    raises=(OrderNotCancellable,),
)
def post_order_cancel(order_id: str) -> Response:
    with transaction() as session:
        order = orders.cancel_order(session, order_id=order_id, user_id=identity().user_id)
        return reply(OrderDetailOut.told(order, queries.history_of(session, order)))


@routes.get("/services")
@operation("Own services", query=ServicesQuery, returns={200: ServiceOut}, roles=("customer",), page=True)
def list_services(query: ServicesQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_services(session, identity().user_id, query.state, query), ServiceOut)


@routes.get("/services/<id:service_id>")
@operation("A service with its allowances", returns={200: ServiceOut}, roles=("customer",))
def get_service(service_id: str) -> Response:
    with reading() as session:
        return reply(ServiceOut.of(queries.get_service(session, service_id, identity().user_id)))


@routes.patch("/services/<id:service_id>")
@operation(
    "Change characteristics of a live service, such as its ring tone, or whether it renews",
    body=ServiceIn,
    returns={200: ServiceOut},
    roles=("customer",),
    raises=(ServiceNotLive, ServiceNotRenewable),
)
def patch_service(service_id: str, body: ServiceIn) -> Response:
    with transaction() as session:
        service = services.change_service(
            session,
            service_id=service_id,
            user_id=identity().user_id,
            characteristics=None if body.characteristics is None else dict(body.characteristics),
            renews=body.renews,
        )
        return reply(ServiceOut.of(service))


@routes.post("/services/<id:service_id>/deactivate")
@operation(
    "Switch a service off; it is terminated once the network has confirmed",
    returns={202: ServiceOut},
    roles=("customer",),
    raises=(ServiceNotLive,),
)
def post_service_deactivate(service_id: str) -> Response:
    with transaction() as session:
        service = services.deactivate_service(session, service_id=service_id, user_id=identity().user_id)
        return reply(ServiceOut.of(service), 202)
