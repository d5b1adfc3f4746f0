"""Whose number is whose."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from payment.models import Customer


def remember_customer(
    session: Session, *, user_id: str, phone: str, as_of: datetime, active: bool = True
) -> None:
    """A customer as an event of `as_of` tells; older events change nothing."""
    known = session.get(Customer, user_id, with_for_update=True)
    if known is None:
        session.add(Customer(id=user_id, phone=phone, active=active, as_of=as_of))
    elif known.as_of < as_of:
        known.phone, known.as_of = phone, as_of


def forget_customer(session: Session, *, user_id: str, as_of: datetime) -> None:
    """Nothing is sent to them any more. Safe to repeat and to come first."""
    known = session.get(Customer, user_id, with_for_update=True)
    if known is None:
        session.add(Customer(id=user_id, phone="", active=False, as_of=as_of))
    else:
        known.active = False


def find_recipient(session: Session, phone: str) -> str | None:
    """The active customer with a number: with two, while an event of its change is on the way, whom the newer names."""
    found = select(Customer.id).where(Customer.phone == phone, Customer.active)
    return session.scalar(found.order_by(Customer.as_of.desc()).limit(1))
