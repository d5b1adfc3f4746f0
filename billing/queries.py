"""Reads of billing."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import Session

from billing.models import (
    OPEN_STATES,
    Account,
    AccountStatus,
    Allowance,
    BillingRun,
    CreditNote,
    Dispute,
    DisputeState,
    DunningRun,
    Invoice,
    InvoiceState,
    LedgerEntry,
    LedgerTransaction,
    Plan,
    Subscription,
    SubscriptionTerm,
    UsageRecord,
    UsageTotal,
)
from billing.models.tariffs import RATES
from common import clock
from common.db import InstantText, Page, PageQuery, fetch_page
from common.db.pages import decode_cursor, encode_cursor
from common.errors import NotFound


def get_account(session: Session, user_id: str) -> Account:
    """Raises NotFound."""
    account = session.scalar(select(Account).where(Account.user_id == user_id))
    if account is None:
        raise NotFound("There is no billing account, or not yet")
    return account


def get_invoice(session: Session, invoice_id: str, *, owner_id: str | None) -> Invoice:
    """An invoice; of that owner when given. Raises NotFound."""
    invoice = session.get(Invoice, invoice_id)
    if invoice is None or owner_id not in (None, invoice.user_id):
        raise NotFound()
    return invoice


def get_dunning_run(session: Session, run_id: str) -> DunningRun:
    """Raises NotFound."""
    run = session.get(DunningRun, run_id)
    if run is None:
        raise NotFound()
    return run


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


def list_statement(session: Session, account: Account, query: PageQuery) -> Page[dict[str, Any]]:
    """What moved the customer's balance (`schemas.StatementLineOut`), newest first.

    Credit that paid an invoice moves nothing and is not shown.
    """
    moves = (
        select(
            LedgerTransaction.id,
            type_coerce(LedgerTransaction.kind, String).label("kind"),
            LedgerTransaction.invoice_id,
            Invoice.number.label("invoice_number"),
            LedgerTransaction.payment_id,
            LedgerTransaction.amount_minor,
            LedgerTransaction.balance_minor,
            LedgerTransaction.currency,
            LedgerTransaction.created_at,
        )
        .join(Invoice, Invoice.id == LedgerTransaction.invoice_id)
        .where(LedgerTransaction.account_id == account.id, LedgerTransaction.amount_minor != 0)
    )
    page = fetch_page(session, moves, LedgerTransaction.id, query, scalars=False)
    items = [
        {
            "id": row.id,
            "kind": row.kind,
            "invoice_id": row.invoice_id,
            "invoice_number": row.invoice_number,
            "payment_id": row.payment_id,
            "amount": {"amount_minor": row.amount_minor, "currency": row.currency},
            "balance": {"amount_minor": row.balance_minor, "currency": row.currency},
            "created_at": row.created_at,
        }
        for row in page.items
    ]
    return Page(items, page.next_cursor)


def trial_balance(session: Session) -> list[tuple[str, str, int, int]]:
    """(ledger account, currency, debits, credits) of all, in minor units, from the entries themselves."""
    amount = LedgerEntry.amount_minor
    sums = (
        select(
            LedgerEntry.ledger_account,
            LedgerEntry.currency,
            func.sum(amount).filter(amount > 0),
            func.sum(-amount).filter(amount < 0),
        )
        .group_by(LedgerEntry.ledger_account, LedgerEntry.currency)
        .order_by(LedgerEntry.currency, LedgerEntry.ledger_account)
    )
    return [
        (ledger_account.value, currency, int(debit or 0), int(credit or 0))
        for ledger_account, currency, debit, credit in session.execute(sums)
    ]


def to_be_reminded_of(as_of: date, before: timedelta) -> ColumnElement[bool]:
    """Of an open invoice: its day of reminder has come, and the customer has not been reminded yet."""
    return and_(
        Invoice.state != InvoiceState.OVERDUE,
        Invoice.reminded_on.is_(None),
        Invoice.due_on >= as_of,
        Invoice.due_on <= as_of + before,
        Invoice.issued_on < as_of,
        true() if before else false(),
    )


def accounts_to_dun(
    session: Session,
    *,
    as_of: date,
    soft_bar_after: timedelta,
    remind_before: timedelta,
    after: str,
    limit: int,
) -> Sequence[str]:
    """Ids of accounts with an invoice of which the customer is to be reminded, that has become overdue, or that may
    cost them the service; in order, above `after`. Disputed invoices wait.

    The open states are literals so that the partial index over open invoices serves this.
    """
    is_open = Invoice.state.in_(
        bindparam("open", [*OPEN_STATES], type_=Invoice.state.type, expanding=True, literal_execute=True)
    )
    becomes_overdue = and_(Invoice.state != InvoiceState.OVERDUE, Invoice.due_on < as_of)
    may_be_barred = and_(
        Invoice.state == InvoiceState.OVERDUE,
        Invoice.due_on <= as_of - soft_bar_after,
        Account.status != AccountStatus.HARD_BARRED,
    )
    statement = (
        select(Invoice.account_id)
        .join(Account, Account.id == Invoice.account_id)
        .where(
            is_open,
            Invoice.disputed.is_(False),
            Invoice.account_id > after,
            or_(becomes_overdue, may_be_barred, to_be_reminded_of(as_of, remind_before)),
        )
        .distinct()
        .order_by(Invoice.account_id)
        .limit(limit)
    )
    return session.scalars(statement).all()


def get_billing_run(session: Session, run_id: str) -> BillingRun:
    """Raises NotFound."""
    run = session.get(BillingRun, run_id)
    if run is None:
        raise NotFound()
    return run


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


def list_plans(session: Session, query: PageQuery) -> Page[Plan]:
    """Those on offer."""
    return fetch_page(session, select(Plan).where(Plan.offered.is_(True)), Plan.id, query)


def list_subscriptions(session: Session, user_id: str, query: PageQuery) -> Page[Subscription]:
    """A user's subscriptions, ended ones too. Raises NotFound when there is no account."""
    account = get_account(session, user_id)
    statement = select(Subscription).where(Subscription.account_id == account.id)
    return fetch_page(session, statement, Subscription.id, query)


def get_subscription(session: Session, subscription_id: str, *, owner_id: str | None) -> Subscription:
    """A subscription; of that owner when given. Raises NotFound."""
    found = session.get(Subscription, subscription_id)
    if found is None or owner_id not in (None, found.user_id):
        raise NotFound()
    return found


def terms_of(session: Session, subscription_id: str) -> list[tuple[SubscriptionTerm, Plan]]:
    """The plans of a subscription and when each holds, in order of time."""
    terms = (
        select(SubscriptionTerm, Plan)
        .join(Plan, Plan.id == SubscriptionTerm.plan_id)
        .where(SubscriptionTerm.subscription_id == subscription_id)
        .order_by(SubscriptionTerm.starts_at)
    )
    return [(term, plan) for term, plan in session.execute(terms)]


def usage_by_kind(session: Session, account: Account, from_day: date, to_day: date) -> dict[str, Any]:
    """What was used on some days, both included (`schemas.UsageOut`), and what is left of allowances now."""
    starts = datetime.combine(from_day, time(), clock.OPERATOR_ZONE)
    ends = datetime.combine(to_day + timedelta(days=1), time(), clock.OPERATOR_ZONE)
    sums = (
        select(
            UsageRecord.kind,
            UsageRecord.zone,
            func.count(),
            func.sum(UsageRecord.quantity),
            func.sum(UsageRecord.amount_minor),
        )
        .where(
            UsageRecord.account_id == account.id,
            UsageRecord.occurred_at >= starts,
            UsageRecord.occurred_at < ends,
        )
        .group_by(UsageRecord.kind, UsageRecord.zone)
        .order_by(UsageRecord.kind, UsageRecord.zone)
    )
    return {
        "from": from_day.isoformat(),
        "to": to_day.isoformat(),
        "items": [
            {
                "kind": kind,
                "zone": zone,
                "records": records,
                "quantity": int(quantity),
                "charged": account.money(int(charged)),
            }
            for kind, zone, records, quantity, charged in session.execute(sums)
        ],
        "allowances": [*_bought_allowances(session, account), *_plan_allowances(session, account)],
    }


def _bought_allowances(session: Session, account: Account) -> list[dict[str, Any]]:
    now = clock.now()
    live = select(Allowance).where(
        Allowance.user_id == account.user_id, or_(Allowance.ends_at.is_(None), Allowance.ends_at > now)
    )
    return [
        {
            "source": "service",
            "name": each.name,
            "kind": each.kind,
            "zone": None,
            "granted": each.granted,
            "used": each.used,
            "percent": each.used * 100 // each.granted,
            "until": each.ends_at,
            "service_id": each.service_id,
        }
        for each in session.scalars(live.order_by(Allowance.service_id, Allowance.kind))
    ]


def _plan_allowances(session: Session, account: Account) -> list[dict[str, Any]]:
    """What the plans held now include this month."""
    now = clock.now()
    held = (
        select(Plan)
        .join(SubscriptionTerm, SubscriptionTerm.plan_id == Plan.id)
        .where(
            SubscriptionTerm.account_id == account.id,
            SubscriptionTerm.starts_at <= now,
            or_(SubscriptionTerm.ends_at.is_(None), SubscriptionTerm.ends_at > now),
        )
        .order_by(Plan.id)
    )
    period = f"{clock.today():%Y-%m}"
    totals = select(UsageTotal).where(UsageTotal.account_id == account.id, UsageTotal.period == period)
    used = {(t.plan_id, t.kind, t.zone): t.quantity for t in session.scalars(totals)}
    next_month = (clock.today().replace(day=1) + timedelta(days=32)).replace(day=1)
    until = datetime.combine(next_month, time(), clock.OPERATOR_ZONE).astimezone(UTC)
    found = []
    for plan in session.scalars(held):
        for rate in RATES.validate_json(plan.rates):
            if rate.included:
                so_far = min(rate.included, used.get((plan.id, rate.kind, rate.zone), 0))
                found.append(
                    {
                        "source": "plan",
                        "name": plan.name,
                        "kind": rate.kind,
                        "zone": rate.zone,
                        "granted": rate.included,
                        "used": so_far,
                        "percent": so_far * 100 // rate.included,
                        "until": until,
                        "service_id": None,
                    }
                )
    return found
