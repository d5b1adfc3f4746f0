"""Around the catalogue: ring tones, wishlists, free numbers."""

from flask import Response

from common.db import PageQuery, reading, rerun_lost_race, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from provisioning import queries
from provisioning.errors import CodeTaken, WishlistFull
from provisioning.models import ToneState
from provisioning.routes.admin import actor
from provisioning.routes.blueprint import routes
from provisioning.schemas import (
    AdminRingToneOut,
    AdminRingTonesQuery,
    NumberOut,
    NumbersQuery,
    RingToneIn,
    RingToneOut,
    RingTonesQuery,
    WishOut,
)
from provisioning.use_cases import ring_tones, wishes


@routes.get("/ring-tones")
@operation("Search the ring tones", query=RingTonesQuery, returns={200: RingToneOut}, roles=None, page=True)
def list_tones(query: RingTonesQuery) -> Response:
    with reading() as session:
        found = queries.list_tones(
            session, text=query.query, genre=query.genre, state=ToneState.ACTIVE, query=query
        )
        return reply_page(found, RingToneOut)


@routes.get("/ring-tones/<id:tone_id>")
@operation("A ring tone", returns={200: RingToneOut}, roles=None)
def get_tone(tone_id: str) -> Response:
    with reading() as session:
        return reply(RingToneOut.of(queries.get_tone(session, tone_id)))


@routes.get("/wishlist")
@operation("Own wishlist", query=PageQuery, returns={200: WishOut}, roles=("customer",), page=True)
def list_wishes(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_wishes(session, identity().user_id, query), WishOut)


@routes.put("/wishlist/<id:offering_id>")
@operation(
    "Put an offering on the wishlist; safe to repeat",
    returns={200: WishOut},
    roles=("customer",),
    raises=(NotFound, WishlistFull),
)
def put_wish(offering_id: str) -> Response:
    @rerun_lost_race
    def add() -> Response:
        with transaction() as session:
            return reply(
                WishOut.of(wishes.add_wish(session, user_id=identity().user_id, offering_id=offering_id))
            )

    return add()


@routes.delete("/wishlist/<id:offering_id>")
@operation("Take an offering off the wishlist", returns={204: None}, roles=("customer",))
def delete_wish(offering_id: str) -> Response:
    with transaction() as session:
        wishes.drop_wish(session, user_id=identity().user_id, offering_id=offering_id)
        return reply(None, 204)


@routes.get("/numbers")
@operation(
    "Numbers that can be had, to name in an order",
    query=NumbersQuery,
    returns={200: NumberOut},
    roles=("customer",),
    page=True,
)
def list_numbers(query: NumbersQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_numbers(session, query.contains, query), NumberOut)


@routes.get("/admin/ring-tones")
@operation(
    "Ring tones in every state",
    query=AdminRingTonesQuery,
    returns={200: AdminRingToneOut},
    roles=("agent", "admin"),
    page=True,
)
def list_all_tones(query: AdminRingTonesQuery) -> Response:
    with reading() as session:
        found = queries.list_tones(
            session, text=query.query, genre=query.genre, state=query.state, query=query
        )
        return reply_page(found, AdminRingToneOut)


@routes.post("/admin/ring-tones")
@operation(
    "Add a ring tone", body=RingToneIn, returns={201: AdminRingToneOut}, roles=("admin",), raises=(CodeTaken,)
)
def post_tone(body: RingToneIn) -> Response:
    @rerun_lost_race
    def add() -> Response:
        with transaction() as session:
            tone = ring_tones.add_tone(session, body, tone_id=work_id(), actor=actor())
            session.flush()
            return reply(AdminRingToneOut.of(tone), 201)

    return add()


@routes.put("/admin/ring-tones/<id:tone_id>")
@operation(
    "Change what is said of a ring tone",
    body=RingToneIn,
    returns={200: AdminRingToneOut},
    roles=("admin",),
    raises=(CodeTaken,),
)
def put_tone(tone_id: str, body: RingToneIn) -> Response:
    with transaction() as session:
        tone = ring_tones.change_tone(session, body, tone_id=tone_id, actor=actor())
        session.flush()
        return reply(AdminRingToneOut.of(tone))


@routes.post("/admin/ring-tones/<id:tone_id>/withdraw")
@operation("Offer a ring tone no longer", returns={200: AdminRingToneOut}, roles=("admin",))
def post_tone_withdraw(tone_id: str) -> Response:
    return _set_state(tone_id, ToneState.WITHDRAWN)


@routes.post("/admin/ring-tones/<id:tone_id>/activate")
@operation("Offer a ring tone again", returns={200: AdminRingToneOut}, roles=("admin",))
def post_tone_activate(tone_id: str) -> Response:
    return _set_state(tone_id, ToneState.ACTIVE)


def _set_state(tone_id: str, state: ToneState) -> Response:
    with transaction() as session:
        tone = ring_tones.set_tone_state(session, state, tone_id=tone_id, actor=actor())
        session.flush()
        return reply(AdminRingToneOut.of(tone))
