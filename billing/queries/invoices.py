"""Invoices and what corrects them; the list of them is the hot one."""

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

import orjson
from sqlalchemy import Connection, Integer, Select, String, bindparam, select, type_coerce
from sqlalchemy.orm import Session

from billing.models import CreditNote, Dispute, DisputeState, Invoice, InvoiceState
from common.db import InstantText, Page, PageQuery, fetch_page
from common.db.pages import decode_cursor, encode_cursor
from common.errors import NotFound


def get_invoice(session: Session, invoice_id: str, *, owner_id: str | None) -> Invoice:
    """An invoice; of that owner when given. Raises NotFound."""
    invoice = session.get(Invoice, invoice_id)
    if invoice is None or owner_id not in (None, invoice.user_id):
        raise NotFound()
    return invoice


_T = Invoice.__table__.c


_LISTED = select(
    _T.id,
    _T.number,
    _T.user_id,
    _T.account_number,
    type_coerce(_T.state, String),
    _T.period,
    _T.currency,
    _T.lines,
    _T.tax_lines,
    _T.subtotal_minor,
    _T.total_minor,
    _T.paid_minor,
    _T.credited_minor,
    type_coerce(_T.due_on, String),
    type_coerce(_T.issued_at, InstantText()),
    type_coerce(_T.paid_at, InstantText()),
)


@cache
def _invoices_statement(
    *, state: bool, issued_from: bool, issued_to: bool, cursor: bool
) -> Select[*tuple[Any, ...]]:
    """Built once per combination of filters: building it takes longer than running it."""
    statement: Select[*tuple[Any, ...]] = _LISTED.where(_T.user_id == bindparam("user_id"))
    if state:
        statement = statement.where(_T.state == bindparam("state"))
    if issued_from:
        statement = statement.where(_T.issued_on >= bindparam("issued_from"))
    if issued_to:
        statement = statement.where(_T.issued_on <= bindparam("issued_to"))
    if cursor:
        statement = statement.where(_T.id < bindparam("before"))
    return statement.order_by(_T.id.desc()).limit(bindparam("rows", type_=Integer))


def list_invoices(
    connection: Connection,
    user_id: str,
    query: PageQuery,
    *,
    state: InvoiceState | None = None,
    issued_from: date | None = None,
    issued_to: date | None = None,
) -> Page[dict[str, Any]]:
    """A user's invoices as they are answered (`schemas.InvoiceOut`), newest first.

    The hot list: columns go to JSON as they come, without models, their lines as the texts that they are.
    """
    statement = _invoices_statement(
        state=state is not None,
        issued_from=issued_from is not None,
        issued_to=issued_to is not None,
        cursor=query.cursor is not None,
    )
    values = {
        "user_id": user_id,
        "state": state,
        "issued_from": issued_from,
        "issued_to": issued_to,
        "before": decode_cursor(query.cursor) if query.cursor is not None else None,
        "rows": query.limit + 1,
    }
    rows = connection.execute(statement, {k: v for k, v in values.items() if v is not None}).all()
    items = [_document(row) for row in rows[: query.limit]]
    return Page(items, encode_cursor(items[-1]["id"]) if len(rows) > query.limit else None)


def _document(row: Any) -> dict[str, Any]:
    (
        invoice_id, number, user_id, account_number, state, period, currency, lines, tax_lines,
        subtotal, total, paid, credited, due_on, issued_at, paid_at,
    ) = row  # fmt: skip
    return {
        "id": invoice_id,
        "number": number,
        "user_id": user_id,
        "account_number": account_number,
        "state": state,
        "period": period,
        "lines": orjson.Fragment(lines),
        "tax_lines": orjson.Fragment(tax_lines),
        "subtotal": {"amount_minor": subtotal, "currency": currency},
        "total": {"amount_minor": total, "currency": currency},
        "amount_paid": {"amount_minor": paid, "currency": currency},
        "amount_credited": {"amount_minor": credited, "currency": currency},
        "amount_due": {
            "amount_minor": 0 if state == "void" else total - paid - credited,
            "currency": currency,
        },
        "due_on": due_on,
        "issued_at": issued_at,
        "paid_at": paid_at,
    }


def credit_notes_of(session: Session, invoice_id: str) -> Sequence[CreditNote]:
    notes = select(CreditNote).where(CreditNote.invoice_id == invoice_id)
    return session.scalars(notes.order_by(CreditNote.id.desc())).all()


def list_disputes(
    session: Session, query: PageQuery, *, invoice_id: str | None = None, state: DisputeState | None = None
) -> Page[Dispute]:
    statement = select(Dispute)
    if invoice_id is not None:
        statement = statement.where(Dispute.invoice_id == invoice_id)
    if state is not None:
        statement = statement.where(Dispute.state == state)
    return fetch_page(session, statement, Dispute.id, query)
