"""Wallets: balances, entries, transfers, vouchers, recharging."""

from datetime import date, datetime
from typing import Annotated, Self

import phonenumbers
from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from common.db import PageQuery
from common.money import Currency, Money, PositiveMoney
from common.schemas import Body
from payment.models import LARGEST_BALANCE_MINOR, EntryReason, Leg, Wallet, WalletEntry
from payment.schemas.fields import Id, digits


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
    return digits(value, r"[0-9]{12,20}", "a voucher's code has 12 to 20 digits")


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
        recharge = self.auto_recharge
        if recharge and recharge.below.amount_minor + recharge.amount.amount_minor > LARGEST_BALANCE_MINOR:
            raise ValueError("the wallet would hold too much")
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
    def of(cls, entry: WalletEntry | Leg) -> Self:
        return cls(
            id=entry.id,
            amount=Money(amount_minor=entry.amount_minor, currency=entry.currency),
            balance=Money(amount_minor=entry.balance_minor or 0, currency=entry.currency),
            reason=entry.reason,
            source_id=entry.source_id,
            created_at=entry.created_at,
        )
