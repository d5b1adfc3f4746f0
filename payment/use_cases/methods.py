"""Saved cards. The gateway is called by the caller, between two of these."""

from datetime import timedelta

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from common.db import wake
from common.errors import NotFound, ServiceUnavailable
from payment.cards import Card
from payment.gateway import CardToken
from payment.models import CardLeft, MethodState, Payment, SavedMethod

LEFT_FOR = timedelta(minutes=10)
"""No request takes so long between leaving a card and writing down what stands for it."""


def note_card(session: Session, *, key: str, gateway: str) -> None:
    """A card is going to be left at a gateway under a key."""
    session.add(CardLeft(key=key, gateway=gateway))


def take_card(session: Session, key: str) -> None:
    """Something stands for a card that was left. Raises ServiceUnavailable when it has been dropped meanwhile."""
    if not _strike(session, key):
        raise ServiceUnavailable("The card was not kept: try again", retry_after=1)


def drop_card(session: Session, key: str) -> None:
    """The gateway has dropped a card for which nothing stands. Safe to repeat."""
    _strike(session, key)


def _strike(session: Session, key: str) -> bool:
    gone = session.execute(
        delete(CardLeft).where(CardLeft.key == key), execution_options={"synchronize_session": False}
    )
    return bool(gone.rowcount)  # type: ignore[attr-defined]


def save_method(
    session: Session,
    *,
    method_id: str,
    user_id: str,
    gateway: str,
    card: Card,
    left: CardToken,
    state: MethodState,
) -> SavedMethod:
    """Keep a card that was left with its gateway."""
    method = SavedMethod(
        id=method_id,
        user_id=user_id,
        gateway=gateway,
        token=left.token,
        brand=left.brand,
        last4=left.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        state=state,
    )
    session.add(method)
    session.flush()
    return method


def activate_method(session: Session, method_id: str) -> None:
    """The payment that saves it is captured. No-op for one that is saved, or removed meanwhile."""
    _move(session, method_id, MethodState.PENDING, MethodState.ACTIVE)


def drop_pending_method(session: Session, method_id: str) -> None:
    """The payment that would have saved it failed. No-op for one that was saved before."""
    if _move(session, method_id, MethodState.PENDING, MethodState.REMOVING):
        wake(session, "methods")


def remove_method(session: Session, *, method_id: str, user_id: str) -> None:
    """The customer takes a card back; the worker has the gateway forget it. Raises NotFound."""
    method = session.get(SavedMethod, method_id)
    if method is None or method.user_id != user_id:
        raise NotFound()
    if not _move(session, method_id, MethodState.ACTIVE, MethodState.REMOVING):
        raise NotFound()
    wake(session, "methods")


def forget_method(session: Session, method_id: str) -> None:
    """The gateway has forgotten the card. Safe to repeat."""
    session.execute(
        update(SavedMethod)
        .where(SavedMethod.id == method_id, SavedMethod.state == MethodState.REMOVING)
        .values(state=MethodState.REMOVED, token=None),
        execution_options={"synchronize_session": False},
    )


def drop_token(session: Session, payment: Payment) -> None:
    """Keep nothing that stands for a payment's card. Safe to repeat."""
    session.execute(
        update(Payment).where(Payment.id == payment.id).values(gateway_token=None),
        execution_options={"synchronize_session": False},
    )


def _move(session: Session, method_id: str, before: MethodState, after: MethodState) -> bool:
    moved = session.execute(
        update(SavedMethod)
        .where(SavedMethod.id == method_id, SavedMethod.state == before)
        .values(state=after),
        execution_options={"synchronize_session": False},
    )
    return bool(moved.rowcount)  # type: ignore[attr-defined]
