"""Wallets."""

from flask import Response

from common.db import reading
from common.identity import identity
from common.web import operation, reply, reply_page
from payment import queries
from payment.errors import CardDeclined, PaymentFailed
from payment.routes.blueprint import routes, settings
from payment.routes.payments import pay
from payment.schemas import EntriesQuery, PaymentOut, TopUpIn, WalletEntryOut, WalletOut, WalletQuery


@routes.post("/wallet/top-ups")
@operation(
    "Top up the wallet by card",
    body=TopUpIn,
    returns={201: PaymentOut},
    roles=("customer",),
    idempotent=True,
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
