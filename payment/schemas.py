"""Requests and responses of payment."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

import phonenumbers
from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from common import clock
from common.db import PageQuery
from common.ids import UUID_PATTERN
from common.money import Currency, Money, PositiveMoney
from common.schemas import Body
from payment.cards import Card, passes_luhn
from payment.filters import CasesQuery, PaymentsQuery
from payment.models import (
    Case,
    CaseKind,
    CaseState,
    Difference,
    DifferenceKind,
    EntryReason,
    LineKind,
    MethodType,
    Payment,
    PaymentState,
    Reconciliation,
    ReconciliationState,
    ReferenceType,
    Refund,
    RefundState,
    Resolution,
    SavedMethod,
    Wallet,
    WalletEntry,
)
from payment.receipts import Language

__all__ = ["CasesQuery", "PaymentsQuery"]

Id = Annotated[str, Field(pattern=f"^{UUID_PATTERN}$")]

FAILURES = {
    "card_declined": "The bank declined the card.",
    "insufficient_funds": "The card has not enough funds.",
    "insufficient_balance": "The wallet's balance is too low.",
    "otp_failed": "The one-time password was wrong three times.",
    "otp_expired": "The one-time password was not given in time.",
    "amount_mismatch": "The amount was not the amount due.",
    "not_found": "There is no such order or invoice of yours.",
    "already_paid": "It was paid already.",
    "not_payable": "It was cancelled or had nothing to pay.",
    "reference_unknown": "The order or invoice did not turn up in time.",
    "card_expired": "The card has expired.",
    "incorrect_cvc": "The card's security code is wrong.",
    "authentication_required": "The bank wants the customer to confirm this payment.",
    "abandoned": "The payment was broken off before the card was charged.",
}
"""Reason codes of failed payments; a gateway may have others."""


def _digits(value: SecretStr, pattern: str, message: str) -> SecretStr:
    digits = re.sub(r"[ -]", "", value.get_secret_value())
    if re.fullmatch(pattern, digits) is None:
        raise ValueError(message)
    return SecretStr(digits)


def _card_number(value: SecretStr) -> SecretStr:
    number = _digits(value, r"[0-9]{12,19}", "not a card number")
    if not passes_luhn(number.get_secret_value()):
        raise ValueError("not a valid card number")
    return number


def _cvc(value: SecretStr) -> SecretStr:
    return _digits(value, r"[0-9]{3,4}", "must have 3 or 4 digits")


class CardIn(Body):
    number: Annotated[SecretStr, Field(min_length=12, max_length=30), AfterValidator(_card_number)]
    exp_month: int = Field(ge=1, le=12)
    exp_year: int = Field(ge=2000, le=2100)
    cvc: Annotated[SecretStr, Field(min_length=3, max_length=4), AfterValidator(_cvc)]
    name: str = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _not_expired(self) -> Self:
        today = clock.today()
        if (self.exp_year, self.exp_month) < (today.year, today.month):
            raise ValueError("the card has expired")
        return self

    def card(self) -> Card:
        return Card(self.number, self.exp_month, self.exp_year, self.cvc, self.name)


class ReferenceIn(Body):
    type: ReferenceType
    id: Id | None = None

    @model_validator(mode="after")
    def _id_where_needed(self) -> Self:
        if (self.type is ReferenceType.TOP_UP) != (self.id is None):
            raise ValueError("an order or invoice needs its id, a top_up has none")
        return self


class MethodIn(Body):
    type: MethodType
    card: CardIn | None = None
    saved_method_id: Id | None = None

    @model_validator(mode="after")
    def _what_the_type_needs(self) -> Self:
        if (self.type is MethodType.CARD) != (self.card is not None):
            raise ValueError("card belongs to type card, and is needed there")
        if (self.type is MethodType.SAVED) != (self.saved_method_id is not None):
            raise ValueError("saved_method_id belongs to type saved, and is needed there")
        return self


class ProcessIn(Body):
    reference: ReferenceIn
    amount: PositiveMoney
    method: MethodIn
    save_method: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.reference.type is ReferenceType.TOP_UP and self.method.type is MethodType.WALLET:
            raise ValueError("a wallet is not topped up from itself")
        if self.save_method and self.method.type is not MethodType.CARD:
            raise ValueError("save_method belongs to a new card")
        return self


class TopUpIn(Body):
    amount: PositiveMoney
    method: MethodIn
    save_method: bool = False

    def as_process(self) -> ProcessIn:
        return ProcessIn(
            reference=ReferenceIn(type=ReferenceType.TOP_UP),
            amount=self.amount,
            method=self.method,
            save_method=self.save_method,
        )


def _e164(value: str) -> str:
    try:
        number = phonenumbers.parse(value, "LK")
    except phonenumbers.NumberParseException:
        raise ValueError("not a phone number") from None
    if not phonenumbers.is_valid_number(number):
        raise ValueError("not a phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


Phone = Annotated[str, Field(min_length=5, max_length=30), AfterValidator(_e164)]


class TransferIn(Body):
    to_phone: Phone
    amount: PositiveMoney


def _voucher_code(value: SecretStr) -> SecretStr:
    return _digits(value, r"[0-9]{12,20}", "a voucher's code has 12 to 20 digits")


VoucherCode = Annotated[SecretStr, Field(min_length=12, max_length=40), AfterValidator(_voucher_code)]


class VoucherIn(Body):
    code: VoucherCode


class VouchersIn(Body):
    batch: str = Field(min_length=1, max_length=50)
    amount: PositiveMoney
    expires_on: Annotated[date | None, Field(strict=False)] = None
    codes: list[VoucherCode] = Field(min_length=1, max_length=10_000)


class VouchersOut(BaseModel):
    batch: str
    imported: int
    known: int = Field(description="were there before, or twice in the request")


class RechargeIn(Body):
    below: PositiveMoney
    amount: PositiveMoney
    saved_method_id: Id


class WalletSettingsIn(Body):
    low_balance: Money = Field(description="told when the balance falls below; 0: never")
    auto_recharge: RechargeIn | None = None

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        amounts = [self.low_balance]
        if self.auto_recharge is not None:
            amounts += [self.auto_recharge.below, self.auto_recharge.amount]
        if len({amount.currency for amount in amounts}) > 1:
            raise ValueError("all amounts must be in the wallet's currency")
        if self.low_balance.amount_minor < 0:
            raise ValueError("low_balance must not be below zero")
        return self


class RechargeOut(BaseModel):
    below: Money
    amount: Money
    saved_method_id: str


class WalletSettingsOut(BaseModel):
    low_balance: Money
    auto_recharge: RechargeOut | None = Field(description="null also after three failed ones in a row")

    @classmethod
    def of(cls, wallet: Wallet) -> Self:
        recharge = None
        if wallet.recharge_below_minor is not None:
            recharge = RechargeOut(
                below=Money(amount_minor=wallet.recharge_below_minor, currency=wallet.currency),
                amount=Money(amount_minor=wallet.recharge_amount_minor or 0, currency=wallet.currency),
                saved_method_id=wallet.recharge_method_id or "",
            )
        low = Money(amount_minor=wallet.low_balance_minor, currency=wallet.currency)
        return cls(low_balance=low, auto_recharge=recharge)


class ConfirmIn(Body):
    otp: SecretStr = Field(min_length=4, max_length=10)


class ReferenceOut(BaseModel):
    type: ReferenceType
    id: str | None


class MethodOut(BaseModel):
    type: MethodType
    brand: str | None
    last4: str | None


class FailureOut(BaseModel):
    reason: str = Field(description="reason code")
    message: str


class ActionOut(BaseModel):
    type: Literal["otp", "redirect"]
    url: str | None = Field(description="the bank's own page, for type redirect")
    expires_at: datetime
    tries_left: int


OTP_TRIES = 3


class PaymentOut(BaseModel):
    id: str
    state: PaymentState
    reference: ReferenceOut
    amount: Money
    refunded: Money
    method: MethodOut
    created_at: datetime
    completed_at: datetime | None
    failure: FailureOut | None
    action: ActionOut | None = Field(description="what `POST /payments/{id}/confirm` waits for")

    @classmethod
    def of(cls, payment: Payment) -> Self:
        failure = action = None
        if payment.failure_reason is not None:
            failure = FailureOut(
                reason=payment.failure_reason,
                message=FAILURES.get(payment.failure_reason, "The payment could not be made."),
            )
        if payment.state is PaymentState.REQUIRES_ACTION and payment.action_expires_at is not None:
            action = ActionOut(
                type="redirect" if payment.action_url else "otp",
                url=payment.action_url,
                expires_at=payment.action_expires_at,
                tries_left=max(0, OTP_TRIES - payment.otp_tries),
            )
        return cls(
            id=payment.id,
            state=payment.state,
            reference=ReferenceOut(type=payment.reference_type, id=payment.reference_id),
            amount=payment.amount,
            refunded=Money(amount_minor=payment.refunded_minor, currency=payment.currency),
            method=MethodOut(type=payment.method_type, brand=payment.brand, last4=payment.last4),
            created_at=payment.created_at,
            completed_at=payment.completed_at,
            failure=failure,
            action=action,
        )


class ReceiptQuery(BaseModel):
    model_config = PageQuery.model_config

    language: Language = Language.ENGLISH


class RefundIn(Body):
    amount: PositiveMoney | None = Field(default=None, description="all that is left by default")
    reason: str = Field(min_length=1, max_length=200)


class RefundOut(BaseModel):
    id: str
    payment_id: str
    state: RefundState
    amount: Money
    reason: str
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, refund: Refund) -> Self:
        return cls(
            id=refund.id,
            payment_id=refund.payment_id,
            state=refund.state,
            amount=refund.amount,
            reason=refund.reason,
            created_at=refund.created_at,
            completed_at=refund.completed_at,
        )


class RefundsOut(BaseModel):
    items: list[RefundOut]

    @classmethod
    def of(cls, refunds: Sequence[Refund]) -> Self:
        return cls(items=[RefundOut.of(refund) for refund in refunds])


class SavedMethodOut(BaseModel):
    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    expired: bool
    created_at: datetime

    @classmethod
    def of(cls, method: SavedMethod) -> Self:
        return cls(
            id=method.id,
            brand=method.brand,
            last4=method.last4,
            exp_month=method.exp_month,
            exp_year=method.exp_year,
            expired=method.expired,
            created_at=method.created_at,
        )


class CaseAction(StrEnum):
    NOTED = "noted"
    RETRY_REFUND = "retry_refund"
    PAID_BY_HAND = "paid_by_hand"


class ResolveIn(Body):
    action: Annotated[CaseAction, Field(strict=False)]
    note: str = Field(min_length=1, max_length=500)


class CaseOut(BaseModel):
    id: str
    kind: CaseKind
    state: CaseState
    payment_id: str
    subject_id: str = Field(description="the payment or refund that it is about")
    detail: str
    note: str | None
    resolved_by: str | None
    created_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, case: Case) -> Self:
        return cls(
            id=case.id,
            kind=case.kind,
            state=case.state,
            payment_id=case.payment_id,
            subject_id=case.subject_id,
            detail=case.detail,
            note=case.note,
            resolved_by=case.resolved_by,
            created_at=case.created_at,
            resolved_at=case.resolved_at,
        )


class ReconciliationQuery(BaseModel):
    model_config = PageQuery.model_config

    gateway: str = Field(min_length=1, max_length=30)
    from_on: date = Field(description="first day of the settlement, as the operator counts days")
    to_on: date = Field(description="last day")

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.to_on < self.from_on:
            raise ValueError("to_on is before from_on")
        return self


class ReconciliationOut(BaseModel):
    id: str
    gateway: str
    from_on: date
    to_on: date
    state: ReconciliationState
    lines: int
    compared: int = Field(description="of the lines")
    matched: int
    differences: dict[str, int] = Field(description="how many of each kind so far")
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, run: Reconciliation, differences: dict[str, int] | None = None) -> Self:
        return cls(
            id=run.id,
            gateway=run.gateway,
            from_on=run.from_on,
            to_on=run.to_on,
            state=run.state,
            lines=run.lines,
            compared=run.line,
            matched=run.matched,
            differences=differences or {},
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class NoteIn(Body):
    note: str = Field(min_length=1, max_length=500)


class DifferenceOut(BaseModel):
    id: str
    kind: DifferenceKind
    subject: LineKind
    key: str = Field(description="the payment's or refund's id")
    ours: Money | None
    theirs: Money | None
    resolution: Resolution
    note: str | None
    resolved_at: datetime | None

    @classmethod
    def of(cls, difference: Difference) -> Self:
        def money(minor: int | None) -> Money | None:
            return None if minor is None else Money(amount_minor=minor, currency=difference.currency)

        return cls(
            id=difference.id,
            kind=difference.kind,
            subject=difference.subject,
            key=difference.key,
            ours=money(difference.ours_minor),
            theirs=money(difference.theirs_minor),
            resolution=difference.resolution,
            note=difference.note,
            resolved_at=difference.resolved_at,
        )


class ReceivedOut(BaseModel):
    received: bool = True


class WalletQuery(BaseModel):
    model_config = PageQuery.model_config

    currency: Currency | None = Field(default=None, description="the platform's currency by default")


class EntriesQuery(PageQuery):
    currency: Currency | None = Field(default=None, description="the platform's currency by default")


class WalletOut(BaseModel):
    balance: Money

    @classmethod
    def of(cls, wallet: Wallet | None, currency: str) -> Self:
        """A wallet that does not exist yet is an empty one."""
        return cls(
            balance=Money(amount_minor=wallet.balance_minor if wallet else 0, currency=currency),
        )


class WalletsOut(BaseModel):
    items: list[WalletOut]


class WalletEntryOut(BaseModel):
    id: str
    amount: Money = Field(description="above zero: into the wallet, below: out of it")
    balance: Money = Field(description="after this entry")
    reason: EntryReason
    source_id: str = Field(description="the payment or refund behind it")
    created_at: datetime

    @classmethod
    def of(cls, entry: WalletEntry) -> Self:
        return cls(
            id=entry.id,
            amount=Money(amount_minor=entry.amount_minor, currency=entry.currency),
            balance=Money(amount_minor=entry.balance_minor or 0, currency=entry.currency),
            reason=entry.reason,
            source_id=entry.source_id,
            created_at=entry.created_at,
        )
