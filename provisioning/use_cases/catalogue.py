"""The catalogue."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from provisioning.errors import OfferingCodeTaken, OfferingNotEditable
from provisioning.models import Offering, OfferingState
from provisioning.schemas import OfferingIn
from provisioning.use_cases.audit import Actor, record_act


def seed_offerings(session: Session, offerings: Iterable[OfferingIn]) -> list[str]:
    """Add the offerings whose code the catalogue does not have; returns their codes. What is there stays as it is."""
    known = set(session.scalars(select(Offering.code)))
    added = [offering for offering in offerings if offering.code not in known]
    session.add_all(
        Offering(**offering.model_dump(mode="json"), state=OfferingState.ACTIVE) for offering in added
    )
    return [offering.code for offering in added]


def draft_offering(session: Session, wish: OfferingIn, *, offering_id: str, actor: Actor) -> Offering:
    """A new offering that nobody can order yet. Raises OfferingCodeTaken; a lost race raises IntegrityError."""
    if session.scalar(select(Offering.id).where(Offering.code == wish.code)) is not None:
        raise OfferingCodeTaken()
    offering = Offering(id=offering_id, **wish.model_dump(mode="json"), state=OfferingState.DRAFT)
    session.add(offering)
    record_act(session, actor, "offering.drafted", offering.id, code=offering.code)
    return offering


def change_offering(session: Session, wish: OfferingIn, *, offering_id: str, actor: Actor) -> Offering:
    """Replace what an offering says; orders keep what it was when they were placed.

    Raises NotFound, and OfferingNotEditable for a retired one and for another code, which orders and rules refer to.
    """
    offering = _held(session, offering_id)
    if offering.state is OfferingState.RETIRED or offering.code != wish.code:
        raise OfferingNotEditable("A retired offering and an offering's code stay as they are")
    said = wish.model_dump(mode="json")
    changed = {name: value for name, value in said.items() if getattr(offering, name) != value}
    for name, value in changed.items():
        setattr(offering, name, value)
    record_act(session, actor, "offering.changed", offering.id, changed=sorted(changed))
    return offering


def put_offering_on_sale(session: Session, *, offering_id: str, actor: Actor) -> Offering:
    """Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    offering.put_on_sale()
    record_act(session, actor, "offering.activated", offering.id, code=offering.code)
    return offering


def retire_offering(session: Session, *, offering_id: str, actor: Actor) -> Offering:
    """Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    offering.retire()
    record_act(session, actor, "offering.retired", offering.id, code=offering.code)
    return offering


def discard_draft(session: Session, *, offering_id: str, actor: Actor) -> None:
    """Remove an offering that was never on sale. Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    if offering.state is not OfferingState.DRAFT:
        raise OfferingNotEditable(f"The offering is {offering.state.value}")
    record_act(session, actor, "offering.discarded", offering.id, code=offering.code)
    session.delete(offering)


def _held(session: Session, offering_id: str) -> Offering:
    offering = session.get(Offering, offering_id, with_for_update=True)
    if offering is None:
        raise NotFound()
    return offering
