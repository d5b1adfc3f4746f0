"""Wallets."""

from flask import Response

from common.db import reading, transaction
from common.errors import NotFound, ServiceUnavailable, ValidationFailed
from common.identity import identity
from common.money import Money
from common.web import operation, reply, reply_page, work_id
from payment import queries
from payment.errors import (
    CardDeclined,
    PaymentFailed,
    RecipientUnknown,
    TooManyGuesses,
    VoucherInvalid,
    WalletFull,
    WalletTooLow,
)
from payment.routes.blueprint import routes, settings
from payment.routes.paying import pay
from payment.schemas import (
    EntriesQuery,
    PaymentOut,
    TopUpIn,
    TransferIn,
    VoucherIn,
    VouchersIn,
    VouchersOut,
    WalletEntryOut,
    WalletOut,
    WalletQuery,
    WalletSettingsIn,
    WalletSettingsOut,
    WalletsOut,
)
from payment.use_cases import customers, vouchers, wallets


@routes.post("/wallet/top-ups")
@operation(
    "Top up the wallet by card",
    body=TopUpIn,
    returns={201: PaymentOut},
    roles=("customer",),
    idempotent=True,
    optimistic=True,
    raises=(CardDeclined, PaymentFailed),
)
def post_top_up(body: TopUpIn) -> Response:
    return pay(body.as_process())


@routes.get("/wallet")
@operation("The wallet's balance", query=WalletQuery, returns={200: WalletOut}, roles=("customer",))
def get_wallet(query: WalletQuery) -> Response:
    currency = query.currency or settings().wallet_currency
    with reading() as session:
        return reply(WalletOut.of(queries.find_wallet(session, identity().user_id, currency), currency))


@routes.get("/wallet/entries")
@operation(
    "What came into and went out of the wallet",
    query=EntriesQuery,
    returns={200: WalletEntryOut},
    roles=("customer",),
    page=True,
)
def list_wallet_entries(query: EntriesQuery) -> Response:
    currency = query.currency or settings().wallet_currency
    with reading() as session:
        page = queries.list_wallet_entries(session, identity().user_id, currency, query)
        return reply_page(page, WalletEntryOut)


@routes.get("/wallets")
@operation("All wallets, one per currency", returns={200: WalletsOut}, roles=("customer",))
def list_wallets() -> Response:
    with reading() as session:
        found = queries.list_wallets(session, identity().user_id)
        return reply(WalletsOut(items=[WalletOut.of(wallet, wallet.currency) for wallet in found]))


@routes.get("/wallet/settings")
@operation(
    "When the wallet is low, and its recharging", query=WalletQuery, returns={200: WalletSettingsOut},
    roles=("customer",), raises=(NotFound,),
)  # fmt: skip
def get_wallet_settings(query: WalletQuery) -> Response:
    with reading() as session:
        currency = query.currency or settings().wallet_currency
        wallet = queries.find_wallet(session, identity().user_id, currency)
        if wallet is None:
            raise NotFound()
        return reply(WalletSettingsOut.of(wallet))


@routes.put("/wallet/settings")
@operation(
    "Say when the wallet is low, and have it recharged from a saved card", body=WalletSettingsIn,
    returns={200: WalletSettingsOut}, roles=("customer",), raises=(NotFound,),
)  # fmt: skip
def put_wallet_settings(body: WalletSettingsIn) -> Response:
    """The currency of the amounts says which wallet; without `auto_recharge` there is none."""
    wanted = body.auto_recharge
    with transaction() as session:
        wallet = wallets.configure_wallet(
            session,
            user_id=identity().user_id,
            low_balance=body.low_balance,
            below=wanted.below if wanted else None,
            amount=wanted.amount if wanted else None,
            method_id=wanted.saved_method_id if wanted else None,
        )
        return reply(WalletSettingsOut.of(wallet))


@routes.post("/wallet/transfers")
@operation(
    "Send money to another customer's wallet", body=TransferIn, returns={201: WalletEntryOut},
    roles=("customer",), idempotent=True, raises=(RecipientUnknown, WalletFull, WalletTooLow),
)  # fmt: skip
def post_transfer(body: TransferIn) -> Response:
    with transaction() as session:
        recipient = customers.find_recipient(session, body.to_phone)
        if recipient is None:
            raise RecipientUnknown()
        if recipient == identity().user_id:
            raise ValidationFailed(errors=[{"field": "to_phone", "message": "is your own number"}])
        entry = wallets.transfer(
            session,
            sender_id=identity().user_id,
            recipient_id=recipient,
            amount=Money(amount_minor=body.amount.amount_minor, currency=body.amount.currency),
            transfer_id=work_id(),
        )
        if entry is None:
            raise WalletTooLow()
        return reply(WalletEntryOut.of(entry), 201)


@routes.post("/wallet/vouchers")
@operation(
    "Redeem a printed voucher", body=VoucherIn, returns={201: WalletEntryOut}, roles=("customer",),
    raises=(VoucherInvalid, TooManyGuesses, WalletFull, ServiceUnavailable),
)  # fmt: skip
def post_voucher(body: VoucherIn) -> Response:
    """Five wrong codes in a row lock this for an hour."""
    secret, user_id = _voucher_secret(), identity().user_id
    with transaction() as session:
        wait = vouchers.locked_for(session, user_id)
        if wait is not None:
            raise TooManyGuesses(retry_after=wait)
        entry = vouchers.redeem_voucher(
            session, secret=secret, user_id=user_id, code=body.code.get_secret_value()
        )
        if entry is not None:
            return reply(WalletEntryOut.of(entry), 201)
    raise VoucherInvalid()


@routes.post("/admin/vouchers")
@operation(
    "Import a batch of printed vouchers", body=VouchersIn, returns={201: VouchersOut}, roles=("admin",),
    raises=(ServiceUnavailable,),
)  # fmt: skip
def post_vouchers(body: VouchersIn) -> Response:
    """Codes that are known already stay as they are, so that a batch may be sent again. Codes are kept as hashes."""
    secret = _voucher_secret()
    with transaction() as session:
        imported = vouchers.import_vouchers(
            session,
            secret=secret,
            batch=body.batch,
            codes=[code.get_secret_value() for code in body.codes],
            amount=body.amount,
            expires_on=body.expires_on,
        )
        out = VouchersOut(batch=body.batch, imported=imported, known=len(body.codes) - imported)
        return reply(out, 201)


def _voucher_secret() -> str:
    if not settings().voucher_secret:
        raise ServiceUnavailable("There are no vouchers here", retry_after=3600)
    return settings().voucher_secret
