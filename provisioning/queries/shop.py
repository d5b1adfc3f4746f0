"""Around the catalogue: ring tones, wishlists, free numbers."""

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, joinedload

from common import clock
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound
from provisioning.models import RingTone, StockItem, StockKind, StockState, ToneState, Wish


def list_tones(
    session: Session, *, text: str | None, genre: str | None, state: ToneState | None, query: PageQuery
) -> Page[RingTone]:
    """Tones with the text in their title, artist or code."""
    wanted = select(RingTone)
    if text is not None:
        fields = (RingTone.title, RingTone.artist, RingTone.code)
        wanted = wanted.where(or_(*(field.icontains(text, autoescape=True) for field in fields)))
    if genre is not None:
        wanted = wanted.where(RingTone.genre == genre)
    if state is not None:
        wanted = wanted.where(RingTone.state == state)
    return fetch_page(session, wanted, RingTone.id, query)


def get_tone(session: Session, tone_id: str) -> RingTone:
    """One that can be chosen. Raises NotFound."""
    tone = session.get(RingTone, tone_id)
    if tone is None or tone.state is not ToneState.ACTIVE:
        raise NotFound()
    return tone


def list_wishes(session: Session, user_id: str, query: PageQuery) -> Page[Wish]:
    mine = select(Wish).where(Wish.user_id == user_id).options(joinedload(Wish.offering))
    return fetch_page(session, mine, Wish.id, query)


def list_numbers(session: Session, contains: str | None, query: PageQuery) -> Page[StockItem]:
    """Numbers that anybody may have now."""
    waits = StockItem.state.in_((StockState.RESERVED, StockState.QUARANTINED))
    free = or_(StockItem.state == StockState.AVAILABLE, and_(waits, StockItem.until <= clock.now()))
    wanted = select(StockItem).where(StockItem.kind == StockKind.MSISDN, free)
    if contains is not None:
        wanted = wanted.where(StockItem.value.contains(contains))
    return fetch_page(session, wanted, StockItem.id, query)
