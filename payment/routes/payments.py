"""Paying, and what was paid."""

from flask import Response

from common.db import PageQuery, reading
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page
from payment import queries
from payment.errors import (
    AlreadyPaid,
    AmountMismatch,
    CardDeclined,
    InsufficientBalance,
    NoActionPending,
    NoReceipt,
    NotPayable,
    OtpInvalid,
    PaymentFailed,
)
from payment.receipts import render_receipt
from payment.routes.blueprint import routes, settings
from payment.routes.paying import confirm, pay
from payment.schemas import ConfirmIn, PaymentOut, ProcessIn, ReceiptQuery, RefundsOut

STAFF = ("agent", "admin")
READERS = ("customer", *STAFF)
PAYING = (CardDeclined, InsufficientBalance, PaymentFailed, AlreadyPaid, NotPayable, AmountMismatch, NotFound)


def reader() -> str | None:
    """Whose payments the caller may read: their own, or (staff) everybody's."""
    caller = identity()
    return None if set(STAFF) & set(caller.roles) else caller.user_id


@routes.post("/process")
@operation(
    "Pay an order, an invoice or a top-up",
    body=ProcessIn,
    returns={201: PaymentOut},
    roles=("customer",),
    idempotent=True,
    optimistic=True,
    raises=PAYING,
)
def post_process(body: ProcessIn) -> Response:
    """The answer's `state` says how far it is: `completed`, `requires_action`, or `processing` when the outcome comes
    later (the gateway did not answer in time, or the order's event has not arrived)."""
    return pay(body)


@routes.post("/payments/<id:payment_id>/confirm")
@operation(
    "Give the bank's one-time password",
    body=ConfirmIn,
    returns={200: PaymentOut},
    roles=("customer",),
    raises=(NotFound, NoActionPending, OtpInvalid, CardDeclined, PaymentFailed),
)
def post_confirm(payment_id: str, body: ConfirmIn) -> Response:
    """Three tries in five minutes; a wrong one answers 422 `otp_invalid`, the last one 402 `card_declined`."""
    return confirm(payment_id, body.otp.get_secret_value())


@routes.get("/payments")
@operation("List payments", query=PageQuery, returns={200: PaymentOut}, roles=("customer",), page=True)
def list_payments(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_payments(session, identity().user_id, query), PaymentOut)


@routes.get("/payments/<id:payment_id>")
@operation("One payment", returns={200: PaymentOut}, roles=READERS, raises=(NotFound,))
def get_payment(payment_id: str) -> Response:
    with reading() as session:
        return reply(PaymentOut.of(queries.get_payment_of(session, payment_id, reader())))


@routes.get("/payments/<id:payment_id>/receipt")
@operation(
    "The receipt as PDF",
    query=ReceiptQuery,
    returns={200: None},
    roles=READERS,
    raises=(NotFound, NoReceipt),
    content_type="application/pdf",
)
def get_receipt(payment_id: str, query: ReceiptQuery) -> Response:
    with reading() as session:
        payment = queries.get_payment_of(session, payment_id, reader())
        refunds = queries.list_refunds(session, payment.id)
    return reply(
        render_receipt(payment, refunds, operator=settings().operator_name, language=query.language),
        content_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="receipt-{payment.id}.pdf"'},
    )


@routes.get("/payments/<id:payment_id>/refunds")
@operation("What went back of a payment", returns={200: RefundsOut}, roles=READERS, raises=(NotFound,))
def list_refunds(payment_id: str) -> Response:
    with reading() as session:
        payment = queries.get_payment_of(session, payment_id, reader())
        return reply(RefundsOut.of(queries.list_refunds(session, payment.id)))
