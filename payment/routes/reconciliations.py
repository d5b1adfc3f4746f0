"""Reconciliations: a settlement file in, differences out."""

from itertools import islice

from flask import Response, request

from common.db import PageQuery, reading, transaction
from common.errors import NotFound, UnsupportedMediaType, ValidationFailed
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.errors import DifferenceResolved, SettlementUnreadable
from payment.models import ReconciliationState
from payment.routes.blueprint import gateways, routes
from payment.schemas import (
    DifferenceOut,
    NoteIn,
    ReconciliationOut,
    ReconciliationQuery,
)
from payment.settlements import BadLine, read_settlement
from payment.use_cases import reconciliations

LARGEST_FILE = 1 << 30
LINES = 5_000


@routes.post("/admin/reconciliations")
@operation(
    "Compare a gateway's settlement with our payments",
    query=ReconciliationQuery,
    returns={202: ReconciliationOut},
    roles=("admin",),
    raises=(SettlementUnreadable, UnsupportedMediaType),
    max_body=LARGEST_FILE,
)
def post_reconciliation(query: ReconciliationQuery) -> Response:
    """The body is the file itself, `text/csv` with the header `kind,key,amount_minor,currency`: each captured `charge`
    with the payment's id, each `refund` with the refund's. The worker compares; ask for the run to see how far. An
    upload that broke off may be sent again with its Idempotency-Key; else it is forgotten after a day."""
    if request.mimetype != "text/csv":
        raise UnsupportedMediaType("The body must be text/csv")
    if not gateways().knows(query.gateway):
        raise ValidationFailed(errors=[{"field": "gateway", "message": "there is no such gateway"}])
    with transaction() as session:
        run = reconciliations.begin_reconciliation(
            session,
            run_id=work_id(),
            gateway=query.gateway,
            from_on=query.from_on,
            to_on=query.to_on,
            created_by=identity().user_id,
        )
    if run.state is not ReconciliationState.UPLOADING:  # this request's, before it died
        return reply(ReconciliationOut.of(run), 202)
    lines = read_settlement(request.stream)
    try:
        while batch := list(islice(lines, LINES)):
            with transaction() as session:
                reconciliations.add_lines(session, run, batch)
    except BadLine as error:
        with transaction() as session:
            reconciliations.refuse_reconciliation(session, run.id)
        raise SettlementUnreadable(str(error)) from None
    with transaction() as session:
        reconciliations.start_comparing(session, run)
        return reply(ReconciliationOut.of(run), 202)


@routes.get("/admin/reconciliations/<id:run_id>")
@operation(
    "How far a reconciliation is",
    returns={200: ReconciliationOut},
    roles=("admin",),
    raises=(NotFound,),
)
def get_reconciliation(run_id: str) -> Response:
    with reading() as session:
        run, counts = queries.get_reconciliation(session, run_id)
        return reply(ReconciliationOut.of(run, counts))


@routes.get("/admin/reconciliations/<id:run_id>/differences")
@operation("What did not match", query=PageQuery, returns={200: DifferenceOut}, roles=("admin",), page=True)
def list_differences(run_id: str, query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_differences(session, run_id, query), DifferenceOut)


@routes.post("/admin/reconciliations/<id:run_id>/differences/<id:difference_id>/resolve")
@operation(
    "Say what a difference was",
    body=NoteIn,
    returns={200: DifferenceOut},
    roles=("admin",),
    raises=(NotFound, DifferenceResolved),
)
def post_resolve_difference(run_id: str, difference_id: str, body: NoteIn) -> Response:
    with transaction() as session:
        difference = reconciliations.resolve_difference(
            session, run_id=run_id, difference_id=difference_id, by=identity().user_id, note=body.note
        )
        return reply(DifferenceOut.of(difference))
