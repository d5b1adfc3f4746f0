"""Stock: what staff hand in and give out."""

from datetime import timedelta

from flask import Response, current_app

from common.db import PageQuery, reading, transaction
from common.errors import NotFound
from common.web import operation, reply, reply_page, work_id
from provisioning import queries
from provisioning.config import Settings
from provisioning.errors import ItemNotAvailable
from provisioning.models import StockKind
from provisioning.routes.admin import actor
from provisioning.routes.blueprint import routes
from provisioning.schemas import (
    FaultsQuery,
    ImportIn,
    ImportOut,
    ReservationIn,
    StockItemOut,
    StockQuery,
    SubscriberIn,
)
from provisioning.use_cases import inventory

POOLS = {"msisdns": StockKind.MSISDN, "sims": StockKind.SIM}


def pool(name: str) -> StockKind:
    if name not in POOLS:
        raise NotFound()
    return POOLS[name]


@routes.get("/admin/inventory/<name>")
@operation(
    "Items of a pool (`msisdns` or `sims`)",
    query=StockQuery,
    returns={200: StockItemOut},
    roles=("agent", "admin"),
    raises=(NotFound,),
    page=True,
)
def list_stock(name: str, query: StockQuery) -> Response:
    with reading() as session:
        found = queries.list_stock(session, pool(name), state=query.state, value=query.value, query=query)
        return reply_page(found, StockItemOut)


@routes.get("/admin/inventory/imports")
@operation(
    "Deliveries of stock, without their errors",
    query=PageQuery,
    returns={200: ImportOut},
    roles=("agent", "admin"),
    page=True,
)
def list_imports(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_deliveries(session, query), ImportOut)


@routes.get("/admin/inventory/imports/<id:import_id>")
@operation(
    "How far a delivery has been read, and its faulty lines",
    query=FaultsQuery,
    returns={200: ImportOut},
    roles=("agent", "admin"),
)
def get_import(import_id: str, query: FaultsQuery) -> Response:
    with reading() as session:
        return reply(ImportOut.of(*queries.get_delivery(session, import_id, query.after_line)))


@routes.post("/admin/inventory/<name>/import")
@operation(
    "Take a delivery as CSV; the worker reads it, faulty lines are reported and the others taken; safe to repeat",
    body=ImportIn,
    returns={202: ImportOut},
    roles=("admin",),
    raises=(NotFound,),
)
def post_import(name: str, body: ImportIn) -> Response:
    with transaction() as session:
        delivery = inventory.take_delivery(
            session, kind=pool(name), import_id=work_id(), text=body.csv, actor=actor()
        )
        session.flush()
        return reply(ImportOut.of(delivery), 202)


@routes.post("/admin/inventory/<name>/<id:item_id>/reserve")
@operation(
    "Reserve an item for a customer for some minutes",
    body=ReservationIn,
    returns={200: StockItemOut},
    roles=("agent", "admin"),
    raises=(ItemNotAvailable,),
)
def post_reserve(name: str, item_id: str, body: ReservationIn) -> Response:
    with transaction() as session:
        item = inventory.reserve_item(
            session,
            kind=pool(name),
            item_id=item_id,
            user_id=body.user_id,
            time=timedelta(minutes=body.minutes),
            actor=actor(),
        )
        return reply(StockItemOut.of(item))


@routes.post("/admin/inventory/<name>/<id:item_id>/assign")
@operation(
    "Assign an item to a customer",
    body=SubscriberIn,
    returns={200: StockItemOut},
    roles=("agent", "admin"),
    raises=(ItemNotAvailable,),
)
def post_assign(name: str, item_id: str, body: SubscriberIn) -> Response:
    with transaction() as session:
        item = inventory.assign_item(
            session, kind=pool(name), item_id=item_id, user_id=body.user_id, actor=actor()
        )
        return reply(StockItemOut.of(item))


@routes.post("/admin/inventory/<name>/<id:item_id>/release")
@operation(
    "Give an item back: a reserved one at once, an assigned one into quarantine",
    returns={200: StockItemOut},
    roles=("agent", "admin"),
    raises=(ItemNotAvailable,),
)
def post_release(name: str, item_id: str) -> Response:
    settings: Settings = current_app.extensions["sricare_settings"]
    with transaction() as session:
        item = inventory.release_item(
            session,
            kind=pool(name),
            item_id=item_id,
            quarantine=timedelta(days=settings.quarantine_days),
            actor=actor(),
        )
        return reply(StockItemOut.of(item))
