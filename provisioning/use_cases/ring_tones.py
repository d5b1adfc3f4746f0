"""The catalogue of ring tones."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from provisioning.errors import CodeTaken
from provisioning.models import RingTone, ToneState
from provisioning.schemas import RingToneIn
from provisioning.use_cases.audit import Actor, record_act


def seed_tones(session: Session, tones: Iterable[RingToneIn]) -> None:
    """Add the tones whose code is not there; what is there stays as it is."""
    known = set(session.scalars(select(RingTone.code)))
    session.add_all(RingTone(**tone.model_dump()) for tone in tones if tone.code not in known)


def add_tone(session: Session, wish: RingToneIn, *, tone_id: str, actor: Actor) -> RingTone:
    """Raises CodeTaken; a lost race raises IntegrityError."""
    if session.scalar(select(RingTone.id).where(RingTone.code == wish.code)) is not None:
        raise CodeTaken()
    tone = RingTone(id=tone_id, **wish.model_dump())
    session.add(tone)
    record_act(session, actor, "ring_tone.added", tone.id, code=tone.code)
    return tone


def change_tone(session: Session, wish: RingToneIn, *, tone_id: str, actor: Actor) -> RingTone:
    """Replace what is said of a tone. Its code stays, services go by it. Raises NotFound, CodeTaken."""
    tone = _held(session, tone_id)
    if tone.code != wish.code:
        raise CodeTaken("A tone's code stays as it is")
    tone.title, tone.artist, tone.genre = wish.title, wish.artist, wish.genre
    record_act(session, actor, "ring_tone.changed", tone.id, code=tone.code)
    return tone


def set_tone_state(session: Session, state: ToneState, *, tone_id: str, actor: Actor) -> RingTone:
    """Withdraw a tone, or offer it again. Safe to repeat. Raises NotFound."""
    tone = _held(session, tone_id)
    if tone.state is not state:
        tone.state = state
        record_act(session, actor, f"ring_tone.{state.value}", tone.id, code=tone.code)
    return tone


def _held(session: Session, tone_id: str) -> RingTone:
    tone = session.get(RingTone, tone_id, with_for_update=True)
    if tone is None:
        raise NotFound()
    return tone
