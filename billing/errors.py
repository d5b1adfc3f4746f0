"""Refusals of billing."""

from common.errors import AppError, Conflict, ValidationFailed


class InvoiceNotVoidable(Conflict):
    code, title = (
        "invoice_not_voidable",
        "Only an invoice that is neither paid nor credited yet can be voided",
    )


class NotCreditable(Conflict):
    code, title = "not_creditable", "A credit note cannot be higher than what is left of its invoice"


class DisputeOpen(Conflict):
    code, title = "dispute_open", "This invoice is disputed already"


class InvoiceNotDisputable(Conflict):
    code, title = "invoice_not_disputable", "Only an issued invoice can be disputed"


class DisputeResolved(Conflict):
    code, title = "dispute_resolved", "This dispute has been resolved before"


class PlanCodeTaken(Conflict):
    code, title = "plan_code_taken", "There is a plan of this code already"


class PlanNotOffered(Conflict):
    code, title = "plan_not_offered", "This plan is not offered to this account"


class AlreadySubscribed(Conflict):
    code, title = (
        "already_subscribed",
        "There is an active subscription of this category: change or cancel it",
    )


class AccountIsPrepaid(Conflict):
    code, title = "account_is_prepaid", "A prepaid account cannot subscribe to a plan that is billed"


class AccountInUse(Conflict):
    code, title = "account_in_use", "The account owes something or has an active subscription"


class SubscriptionEnded(Conflict):
    code, title = "subscription_ended", "The subscription has ended"


class SamePlan(Conflict):
    code, title = "same_plan", "The subscription is for this plan already"


class PeriodNotBegun(ValidationFailed):
    code, title = "period_not_begun", "A month that has not begun cannot be billed"


ERRORS: tuple[type[AppError], ...] = (
    InvoiceNotVoidable,
    NotCreditable,
    DisputeOpen,
    InvoiceNotDisputable,
    DisputeResolved,
    PlanCodeTaken,
    PlanNotOffered,
    AlreadySubscribed,
    AccountIsPrepaid,
    AccountInUse,
    SubscriptionEnded,
    SamePlan,
    PeriodNotBegun,
)
