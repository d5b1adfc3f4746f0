"""What is known of a customer: for the bot's answers and the agent's card."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from chat.models import Bar, Invoice, Order, Service, User, Wallet
from common import clock

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """A customer as events have told so far. `user` None: not even the registration has arrived yet."""

    user: User | None
    wallet: Wallet | None
    barred: str | None
    open_invoices: Sequence[Invoice]
    orders: Sequence[Order]
    services: Sequence[Service]


def facts_of(session: Session, user_id: str) -> Facts:
    """Unpaid invoices by due date, the newest orders, the live services."""
    bar = session.get(Bar, user_id)
    unpaid = select(Invoice).where(Invoice.user_id == user_id, Invoice.amount_due_minor > 0)
    orders = select(Order).where(Order.user_id == user_id).order_by(Order.id.desc()).limit(SHOWN)
    services = select(Service).where(Service.user_id == user_id, Service.active.is_(True))
    now = clock.now()
    return Facts(
        user=session.get(User, user_id),
        wallet=session.get(Wallet, user_id),
        barred=bar.level if bar else None,
        open_invoices=session.scalars(unpaid.order_by(Invoice.due_on, Invoice.id)).all(),
        orders=session.scalars(orders).all(),
        services=[
            found
            for found in session.scalars(services.order_by(Service.id.desc()))
            if found.expires_at is None or found.expires_at > now
        ],
    )
