"""What customers do and see; staff see it of anybody."""

from flask import Response
from sqlalchemy.orm import Session

from billing import documents, queries
from billing.errors import (
    AccountIsPrepaid,
    AlreadySubscribed,
    DisputeOpen,
    InvoiceNotDisputable,
    PlanNotOffered,
    SamePlan,
    SubscriptionEnded,
)
from billing.models import Account, Subscription
from billing.routes.base import owner, routes, settings, whose
from billing.schemas import (
    AccountOut,
    CancelIn,
    ChangeIn,
    CreditNoteOut,
    CustomerQuery,
    DisputeIn,
    DisputeOut,
    InvoiceOut,
    InvoicesQuery,
    LedgerQuery,
    PdfQuery,
    PlanOut,
    StatementLineOut,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionsQuery,
    UsageOut,
    UsageQuery,
)
from billing.use_cases import corrections, plans
from common.db import Page, PageQuery, reading, snapshot, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id


@routes.get("/account")
@operation("The billing account", query=CustomerQuery, returns={200: AccountOut}, raises=(NotFound,))
def get_account(query: CustomerQuery) -> Response:
    with reading() as session:
        return reply(AccountOut.of(queries.get_account(session, whose(query.user_id))))


@routes.get("/invoices")
@operation("List invoices", query=InvoicesQuery, returns={200: InvoiceOut}, page=True, raises=(NotFound,))
def list_invoices(query: InvoicesQuery) -> Response:
    with snapshot() as connection:
        page = queries.list_invoices(
            connection,
            whose(query.user_id),
            query,
            state=query.state,
            issued_from=query.issued_from,
            issued_to=query.issued_to,
        )
    return reply_page(page)


@routes.get("/invoices/<id:invoice_id>")
@operation("One invoice", returns={200: InvoiceOut})
def get_invoice(invoice_id: str) -> Response:
    with reading() as session:
        return reply(InvoiceOut.of(queries.get_invoice(session, invoice_id, owner_id=owner())))


@routes.get("/invoices/<id:invoice_id>/pdf")
@operation("An invoice as PDF", query=PdfQuery, returns={200: None}, content_type="application/pdf")
def get_invoice_pdf(invoice_id: str, query: PdfQuery) -> Response:
    """In the customer's language unless another one is asked for."""
    with reading() as session:
        invoice = queries.get_invoice(session, invoice_id, owner_id=owner())
        account = session.get_one(Account, invoice.account_id)
        notes = queries.credit_notes_of(session, invoice_id)
    pdf = documents.invoice_pdf(invoice, account, notes, settings(), query.language)
    name = f"{invoice.number or invoice.id}.pdf"
    return reply(
        pdf, content_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{name}"'}
    )


@routes.get("/invoices/<id:invoice_id>/credit-notes")
@operation("Credit notes of an invoice", returns={200: CreditNoteOut}, page=True)
def list_credit_notes(invoice_id: str) -> Response:
    with reading() as session:
        queries.get_invoice(session, invoice_id, owner_id=owner())
        return reply_page(Page(queries.credit_notes_of(session, invoice_id), None), CreditNoteOut)


@routes.post("/invoices/<id:invoice_id>/disputes")
@operation(
    "Object to an invoice",
    body=DisputeIn,
    returns={201: DisputeOut},
    raises=(DisputeOpen, InvoiceNotDisputable),
)
def post_dispute(invoice_id: str, body: DisputeIn) -> Response:
    """While it is open, the invoice is not dunned."""
    with transaction() as session:
        dispute = corrections.open_dispute(
            session,
            dispute_id=work_id(),
            invoice_id=invoice_id,
            user_id=identity().user_id,
            reason=body.reason,
        )
        return reply(DisputeOut.of(dispute), 201)


@routes.get("/invoices/<id:invoice_id>/disputes")
@operation("Disputes about an invoice", query=PageQuery, returns={200: DisputeOut}, page=True)
def list_invoice_disputes(invoice_id: str, query: PageQuery) -> Response:
    with reading() as session:
        queries.get_invoice(session, invoice_id, owner_id=owner())
        return reply_page(queries.list_disputes(session, query, invoice_id=invoice_id), DisputeOut)


@routes.get("/plans")
@operation("Plans on offer", query=PageQuery, returns={200: PlanOut}, page=True)
def list_plans(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_plans(session, query), PlanOut)


@routes.get("/subscriptions")
@operation(
    "Subscriptions",
    query=SubscriptionsQuery,
    returns={200: SubscriptionOut},
    page=True,
    raises=(NotFound,),
)
def list_subscriptions(query: SubscriptionsQuery) -> Response:
    with reading() as session:
        page = queries.list_subscriptions(session, whose(query.user_id), query)
        items = [_subscription(session, each) for each in page.items]
        return reply_page(Page(items, page.next_cursor))


@routes.get("/subscriptions/<id:subscription_id>")
@operation("One subscription", returns={200: SubscriptionOut})
def get_subscription(subscription_id: str) -> Response:
    with reading() as session:
        found = queries.get_subscription(session, subscription_id, owner_id=owner())
        return reply(_subscription(session, found))


@routes.post("/subscriptions")
@operation(
    "Subscribe to a plan",
    body=SubscriptionIn,
    returns={201: SubscriptionOut},
    raises=(NotFound, PlanNotOffered, AccountIsPrepaid, AlreadySubscribed),
)
def post_subscription(body: SubscriptionIn) -> Response:
    """It begins now; the first month is billed by its days."""
    with transaction() as session:
        made = plans.subscribe(
            session, subscription_id=work_id(), user_id=identity().user_id, plan_id=body.plan_id
        )
        return reply(_subscription(session, made), 201)


@routes.post("/subscriptions/<id:subscription_id>/change")
@operation(
    "Change to another plan of the same category",
    body=ChangeIn,
    returns={200: SubscriptionOut},
    raises=(PlanNotOffered, SamePlan, SubscriptionEnded),
)
def post_change(subscription_id: str, body: ChangeIn) -> Response:
    """Now (both plans are billed by their days) or with the next month."""
    with transaction() as session:
        changed = plans.change_plan(
            session,
            subscription_id=subscription_id,
            user_id=identity().user_id,
            plan_id=body.plan_id,
            at_period_end=body.when == "period_end",
        )
        return reply(_subscription(session, changed))


@routes.post("/subscriptions/<id:subscription_id>/cancel")
@operation(
    "Cancel a subscription", body=CancelIn, returns={200: SubscriptionOut}, raises=(SubscriptionEnded,)
)
def post_cancel(subscription_id: str, body: CancelIn) -> Response:
    """With the end of the month, or now: then what was billed of the days not held comes back as credit."""
    with transaction() as session:
        ended = plans.cancel_subscription(
            session,
            subscription_id=subscription_id,
            user_id=identity().user_id,
            at_period_end=body.when == "period_end",
        )
        return reply(_subscription(session, ended))


@routes.get("/usage")
@operation("Usage by kind", query=UsageQuery, returns={200: UsageOut}, raises=(NotFound,))
def get_usage(query: UsageQuery) -> Response:
    with reading() as session:
        account = queries.get_account(session, whose(query.user_id))
        return reply(queries.usage_by_kind(session, account, *query.days))


def _subscription(session: Session, subscription: Subscription) -> SubscriptionOut:
    return SubscriptionOut.of(subscription, queries.terms_of(session, subscription.id))


@routes.get("/ledger")
@operation(
    "The customer's statement", query=LedgerQuery, returns={200: StatementLineOut}, page=True, raises=(NotFound,)
)  # fmt: skip
def list_ledger(query: LedgerQuery) -> Response:
    with reading() as session:
        account = queries.get_account(session, whose(query.user_id))
        return reply_page(queries.list_statement(session, account, query))
