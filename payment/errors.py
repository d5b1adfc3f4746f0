"""Refusals of payment."""

from common.errors import AppError, Conflict, NotFound, TooManyRequests, ValidationFailed


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
    field = "amount"


class OtpInvalid(ValidationFailed):
    code, title = "otp_invalid", "The one-time password is not right"
    field = "otp"


class NotRefundable(Conflict):
    code, title = "not_refundable", "This payment was not captured, or all of it went back"


class RefundTooLarge(ValidationFailed):
    code, title = "refund_too_large", "More than what is left of the payment"
    field = "amount"


class WalletTooLow(Conflict):
    code, title = "wallet_balance_too_low", "The wallet's balance does not cover this"


class WalletFull(Conflict):
    code, title = "wallet_full", "The wallet would hold too much"


class RecipientUnknown(NotFound):
    code, title = "recipient_unknown", "There is no customer with this number"


class VoucherInvalid(ValidationFailed):
    code, title = "voucher_invalid", "There is no such voucher, or it is used or out of date"
    field = "code"


class TooManyGuesses(TooManyRequests):
    code, title = "too_many_attempts", "Too many wrong codes"


class NoReceipt(Conflict):
    code, title = "no_receipt", "There is a receipt only for a payment that was captured"


class NoticeNotAuthentic(AppError):
    status, code, title = 401, "webhook_not_authentic", "The signature is wrong or too old"


class DifferenceResolved(Conflict):
    code, title = "difference_resolved", "This difference is resolved already"


class SettlementUnreadable(ValidationFailed):
    code, title = "settlement_unreadable", "The settlement file cannot be read"


class CaseResolved(Conflict):
    code, title = "case_resolved", "This case is resolved already"


ERRORS: tuple[type[AppError], ...] = (
    CardDeclined,
    InsufficientBalance,
    PaymentFailed,
    AlreadyPaid,
    NotPayable,
    NoActionPending,
    AmountMismatch,
    OtpInvalid,
    NotRefundable,
    RefundTooLarge,
    WalletFull,
    WalletTooLow,
    RecipientUnknown,
    VoucherInvalid,
    TooManyGuesses,
    NoReceipt,
    CaseResolved,
    DifferenceResolved,
    SettlementUnreadable,
    NoticeNotAuthentic,
)
