"""Copies of what other services told of a customer's money, orders and services; any order of arrival is right."""

from datetime import date, datetime
from typing import Any

from sqlalchemy.orm import Session

from chat.models import Bar, Invoice, Order, Service, Wallet
from common import clock
from common.messaging import NotYet

Money = dict[str, Any]


def record_balance(session: Session, *, user_id: str, balance: Money, entry_id: str, as_of: datetime) -> None:
    """The balance after an entry of the wallet."""
    found = session.get(Wallet, user_id, with_for_update=True)
    if found is None:
        found = Wallet(user_id=user_id)
        session.add(found)
    elif (as_of, entry_id) <= (found.as_of, found.entry_id):
        return
    found.balance_minor, found.currency = balance["amount_minor"], balance["currency"]
    found.entry_id, found.as_of = entry_id, as_of


def record_bar(session: Session, *, user_id: str, level: str | None, as_of: datetime) -> None:
    found = session.get(Bar, user_id, with_for_update=True)
    if found is None:
        session.add(Bar(user_id=user_id, level=level, as_of=as_of))
    elif as_of > found.as_of:
        found.level, found.as_of = level, as_of


def record_invoice(
    session: Session,
    *,
    invoice_id: str,
    user_id: str,
    number: str,
    state: str,
    amount_due: Money,
    due_on: date | None,
    as_of: datetime,
) -> None:
    """`due_on` None: the event does not tell; what is known stays."""
    found = session.get(Invoice, invoice_id, with_for_update=True)
    if found is None:
        found = Invoice(id=invoice_id, user_id=user_id, number=number, due_on=due_on)
        session.add(found)
    else:
        newer = as_of > found.as_of
        found.due_on = (due_on or found.due_on) if newer else (found.due_on or due_on)
        if not newer:
            return
    found.state, found.as_of = state, as_of
    found.amount_due_minor, found.currency = amount_due["amount_minor"], amount_due["currency"]


def record_order(
    session: Session,
    *,
    order_id: str,
    user_id: str,
    number: str,
    offering_name: str,
    state: str,
    as_of: datetime,
) -> None:
    found = session.get(Order, order_id, with_for_update=True)
    if found is None:
        found = Order(id=order_id, user_id=user_id, number=number, offering_name=offering_name)
        session.add(found)
    elif as_of <= found.as_of:
        return
    found.state, found.as_of = state, as_of


def record_service(
    session: Session,
    *,
    service_id: str,
    user_id: str,
    offering_name: str,
    active: bool,
    as_of: datetime,
    category: str | None = None,
    allowances: list[dict[str, Any]] | None = None,
    expires_at: datetime | None = None,
) -> None:
    found = session.get(Service, service_id, with_for_update=True)
    if found is None:
        found = Service(id=service_id, user_id=user_id, offering_name=offering_name, allowances=[])
        session.add(found)
    elif as_of <= found.as_of:
        return
    found.active, found.as_of = active, as_of
    if active:
        found.category, found.allowances, found.expires_at = category, allowances or [], expires_at


def record_usage(
    session: Session, *, service_id: str, kind: str, used: int, until: datetime | None, as_of: datetime
) -> None:
    """How much of an allowance is used in the validity that ends at `until`: within that the highest number holds.

    Raises NotYet while the activation or renewal that it belongs to has not arrived.
    """
    found = session.get(Service, service_id, with_for_update=True)
    if found is None:
        raise NotYet(f"service {service_id} is not known here yet")
    if until is not None and found.expires_at is not None and until > found.expires_at:
        raise NotYet(f"the renewal of service {service_id} has not arrived yet")
    if until != found.expires_at:
        return
    found.allowances = [
        one | {"used": used, "as_of": clock.rfc3339(as_of)}
        if one["kind"] == kind and used > one["used"]
        else one
        for one in found.allowances
    ]
