"""Refusals of billing."""

from common.errors import AppError, Conflict


class InvoiceNotVoidable(Conflict):
    code, title = "invoice_not_voidable", "Only an invoice that is not paid yet can be voided"


ERRORS: tuple[type[AppError], ...] = (InvoiceNotVoidable,)
