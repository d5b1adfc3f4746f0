"""Cases that a person has to look at."""

from flask import Response

from common.db import reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from payment import queries
from payment.errors import CaseResolved, NotRefundable
from payment.models import CaseKind
from payment.routes.blueprint import routes
from payment.schemas import CaseAction, CaseOut, CasesQuery, ResolveIn
from payment.use_cases import cases, refunds


@routes.get("/admin/cases")
@operation(
    "What a person has to look at", query=CasesQuery, returns={200: CaseOut}, roles=("admin",), page=True
)
def list_cases(query: CasesQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_cases(session, query), CaseOut)


@routes.post("/admin/cases/<id:case_id>/resolve")
@operation(
    "Say what became of a case",
    body=ResolveIn,
    returns={200: CaseOut},
    roles=("admin",),
    raises=(NotFound, CaseResolved, NotRefundable),
)
def post_resolve(case_id: str, body: ResolveIn) -> Response:
    """`retry_refund` has a refused refund tried again, `paid_by_hand` says that its money went back in another way."""
    with transaction() as session:
        case = cases.resolve_case(session, case_id=case_id, by=identity().user_id, note=body.note)
        if case.kind is CaseKind.REFUND_REFUSED:
            if body.action is CaseAction.RETRY_REFUND:
                refunds.retry_refund(session, case.subject_id)
            elif body.action is CaseAction.PAID_BY_HAND:
                refunds.pay_out_by_hand(session, case.subject_id)
        return reply(CaseOut.of(case))
