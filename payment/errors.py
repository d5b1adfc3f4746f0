"""Refusals of payment."""

from common.errors import AppError, Conflict, ValidationFailed


class CardDeclined(AppError):
    """The payment as it now stands is in the problem's `payment` member."""

    status, code, title = 402, "card_declined", "The card was declined"


class InsufficientBalance(AppError):
    """The payment as it now stands is in the problem's `payment` member."""

    status, code, title = 402, "insufficient_balance", "The wallet's balance is too low"


class PaymentFailed(AppError):
    """Neither the card nor the balance was the reason. The payment is in the problem's `payment` member."""

    status, code, title = 402, "payment_failed", "The payment could not be made"


class AlreadyPaid(Conflict):
    code, title = "already_paid", "This is paid already, or is being paid right now"


class NotPayable(Conflict):
    code, title = "not_payable", "This was cancelled or has nothing to pay"


class NoActionPending(Conflict):
    code, title = "no_action_pending", "This payment does not wait for a one-time password"


class AmountMismatch(ValidationFailed):
    code, title = "amount_mismatch", "The amount is not the amount due"


class OtpInvalid(ValidationFailed):
    code, title = "otp_invalid", "The one-time password is not right"


ERRORS: tuple[type[AppError], ...] = (
    CardDeclined,
    InsufficientBalance,
    PaymentFailed,
    AlreadyPaid,
    NotPayable,
    NoActionPending,
    AmountMismatch,
    OtpInvalid,
)
