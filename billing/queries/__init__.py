"""Reads of billing."""

from billing.queries.accounts import get_account, list_statement, trial_balance
from billing.queries.invoices import credit_notes_of, get_invoice, list_disputes, list_invoices
from billing.queries.plans import get_subscription, list_plans, list_subscriptions, terms_of
from billing.queries.runs import (
    accounts_to_dun,
    becomes_overdue,
    get_billing_run,
    get_dunning_run,
    list_billing_failures,
    to_be_reminded_of,
)
from billing.queries.usage import usage_by_kind

__all__ = [
    "accounts_to_dun",
    "becomes_overdue",
    "credit_notes_of",
    "get_account",
    "get_billing_run",
    "get_dunning_run",
    "get_invoice",
    "get_subscription",
    "list_billing_failures",
    "list_disputes",
    "list_invoices",
    "list_plans",
    "list_statement",
    "list_subscriptions",
    "terms_of",
    "to_be_reminded_of",
    "trial_balance",
    "usage_by_kind",
]
