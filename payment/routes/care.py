"""What staff do for customers: find their payments, give money back."""

from flask import Response

from common.db import reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.errors import NotRefundable, RefundTooLarge, WalletTooLow
from payment.routes.blueprint import routes
from payment.routes.payments import STAFF
from payment.schemas import PaymentOut, PaymentsQuery, RefundIn, RefundOut
from payment.use_cases import refunds


@routes.post("/payments/<id:payment_id>/refunds")
@operation(
    "Give back part or all of a payment",
    body=RefundIn,
    returns={201: RefundOut},
    roles=STAFF,
    idempotent=True,
    raises=(NotFound, NotRefundable, RefundTooLarge, WalletTooLow),
)
def post_refund(payment_id: str, body: RefundIn) -> Response:
    """Without `amount` all that is left. It goes back to where it came from; a top-up's is taken out of the wallet."""
    with transaction() as session:
        refund = refunds.request_refund(
            session,
            payment_id=payment_id,
            refund_id=work_id(),
            amount=body.amount,
            reason=body.reason,
            requested_by=identity().user_id,
        )
        return reply(RefundOut.of(refund), 201)


@routes.get("/admin/payments")
@operation(
    "Find payments of a customer or for an order or invoice",
    query=PaymentsQuery,
    returns={200: PaymentOut},
    roles=STAFF,
    page=True,
)
def list_all_payments(query: PaymentsQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_all_payments(session, query), PaymentOut)
