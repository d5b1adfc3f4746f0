"""Tables of billing, by noun. States change only by the models' own methods."""

from billing.models.accounts import Account, AccountKind, AccountStatus, Counter
from billing.models.base import Base, InvalidTransition
from billing.models.invoices import (
    OPEN_STATES,
    CreditNote,
    Dispute,
    DisputeState,
    Invoice,
    InvoicePayment,
    InvoiceRefund,
    InvoiceState,
)
from billing.models.ledger import LedgerAccount, LedgerEntry, LedgerKind, LedgerTransaction
from billing.models.plans import BilledFee, Plan, Subscription, SubscriptionTerm
from billing.models.runs import BillingRun, BillingSlice, DunningRun, RunState
from billing.models.usage import HOME, Allowance, EndedService, UsageRecord, UsageTotal

__all__ = [
    "HOME",
    "OPEN_STATES",
    "Account",
    "AccountKind",
    "AccountStatus",
    "Allowance",
    "Base",
    "BilledFee",
    "BillingRun",
    "BillingSlice",
    "Counter",
    "CreditNote",
    "Dispute",
    "DisputeState",
    "DunningRun",
    "EndedService",
    "InvalidTransition",
    "Invoice",
    "InvoicePayment",
    "InvoiceRefund",
    "InvoiceState",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerKind",
    "LedgerTransaction",
    "Plan",
    "RunState",
    "Subscription",
    "SubscriptionTerm",
    "UsageRecord",
    "UsageTotal",
]
