"""Wishlists."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common.errors import NotFound
from provisioning.errors import WishlistFull
from provisioning.models import Offering, OfferingState, Wish

MOST = 100


def add_wish(session: Session, *, user_id: str, offering_id: str) -> Wish:
    """Keep an offering in mind. Safe to repeat. Raises NotFound, WishlistFull; a lost race raises IntegrityError."""
    wish = _find(session, user_id, offering_id)
    if wish is not None:
        return wish
    offering = session.get(Offering, offering_id)
    if offering is None or offering.state is not OfferingState.ACTIVE:
        raise NotFound("There is no such offering")
    if (session.scalar(select(func.count()).where(Wish.user_id == user_id)) or 0) >= MOST:
        raise WishlistFull(f"It holds {MOST} offerings")
    wish = Wish(user_id=user_id, offering=offering)
    session.add(wish)
    session.flush()
    return wish


def drop_wish(session: Session, *, user_id: str, offering_id: str) -> None:
    """Raises NotFound."""
    wish = _find(session, user_id, offering_id)
    if wish is None:
        raise NotFound()
    session.delete(wish)


def _find(session: Session, user_id: str, offering_id: str) -> Wish | None:
    return session.scalar(select(Wish).where(Wish.user_id == user_id, Wish.offering_id == offering_id))
