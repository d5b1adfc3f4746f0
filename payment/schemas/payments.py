"""Payments and their refunds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from common.db import PageQuery
from common.money import Money, PositiveMoney
from common.schemas import Body
from payment.models import MethodType, Payment, PaymentState, ReferenceType, Refund, RefundState
from payment.receipts import Language
from payment.schemas.cards import CardIn
from payment.schemas.fields import Id

OTP_TRIES = 3
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


class ReceivedOut(BaseModel):
    received: bool = True
