"""Tables of payment, and the transitions of their states.

Locks are taken in the order refunds, payables, payments, wallets. The janitor alone has a payment in hand before it
takes its payable: when it meets an event about that in a deadlock, one of them is done again.
"""

from payment.models.base import Base, changed_one, insert_last, insert_rows
from payment.models.cases import Case
from payment.models.customers import Customer, Voucher, VoucherGuesses, VoucherState
from payment.models.methods import CardLeft, SavedMethod
from payment.models.payments import (
    CAPTURED_STATES,
    HOLDING,
    PENDING,
    CaseKind,
    CaseState,
    MethodState,
    MethodType,
    Payable,
    PayableState,
    Payment,
    PaymentState,
    ReferenceType,
    Refund,
    RefundState,
    give_payable_back,
    move_payment,
    take_payable,
)
from payment.models.reconciliation import (
    Difference,
    DifferenceKind,
    LineKind,
    Reconciliation,
    ReconciliationState,
    Resolution,
    SettlementLine,
)
from payment.models.wallets import (
    LARGEST_BALANCE_MINOR,
    Account,
    Balance,
    EntryReason,
    Leg,
    Wallet,
    WalletEntry,
    add_legs,
    change_balance,
)

__all__ = [
    "CAPTURED_STATES",
    "HOLDING",
    "LARGEST_BALANCE_MINOR",
    "PENDING",
    "Account",
    "Balance",
    "Base",
    "CardLeft",
    "Case",
    "CaseKind",
    "CaseState",
    "Customer",
    "Difference",
    "DifferenceKind",
    "EntryReason",
    "Leg",
    "LineKind",
    "MethodState",
    "MethodType",
    "Payable",
    "PayableState",
    "Payment",
    "PaymentState",
    "Reconciliation",
    "ReconciliationState",
    "ReferenceType",
    "Refund",
    "RefundState",
    "Resolution",
    "SavedMethod",
    "SettlementLine",
    "Voucher",
    "VoucherGuesses",
    "VoucherState",
    "Wallet",
    "WalletEntry",
    "add_legs",
    "change_balance",
    "changed_one",
    "give_payable_back",
    "insert_last",
    "insert_rows",
    "move_payment",
    "take_payable",
]
