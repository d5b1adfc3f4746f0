"""Requests and responses of billing."""

from billing.schemas.accounts import AccountIn, AccountOut, LedgerQuery, StatementLineOut, TrialBalanceOut
from billing.schemas.invoices import (
    CreditNoteIn,
    CreditNoteOut,
    DisputeIn,
    DisputeOut,
    DisputesQuery,
    InvoiceIn,
    InvoiceOut,
    InvoicesQuery,
    PdfQuery,
    ResolutionIn,
)
from billing.schemas.plans import (
    CancelIn,
    ChangeIn,
    PlanIn,
    PlanOut,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionsQuery,
)
from billing.schemas.runs import BillingFailureOut, BillingRunIn, BillingRunOut, DunningRunOut
from billing.schemas.shared import CustomerQuery
from billing.schemas.usage import UsageIn, UsageOut, UsageQuery, UsageRatedOut, UsageRecordIn

__all__ = [
    "AccountIn",
    "AccountOut",
    "BillingFailureOut",
    "BillingRunIn",
    "BillingRunOut",
    "CancelIn",
    "ChangeIn",
    "CreditNoteIn",
    "CreditNoteOut",
    "CustomerQuery",
    "DisputeIn",
    "DisputeOut",
    "DisputesQuery",
    "DunningRunOut",
    "InvoiceIn",
    "InvoiceOut",
    "InvoicesQuery",
    "LedgerQuery",
    "PdfQuery",
    "PlanIn",
    "PlanOut",
    "ResolutionIn",
    "StatementLineOut",
    "SubscriptionIn",
    "SubscriptionOut",
    "SubscriptionsQuery",
    "TrialBalanceOut",
    "UsageIn",
    "UsageOut",
    "UsageQuery",
    "UsageRatedOut",
    "UsageRecordIn",
]
