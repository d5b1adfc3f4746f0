"""The catalogue."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import ids
from common.errors import NotFound
from provisioning.errors import OfferingCodeTaken, OfferingNotEditable
from provisioning.models import Offering, OfferingState
from provisioning.schemas import OfferingIn
from provisioning.use_cases.audit import Actor, record_act
from provisioning.use_cases.bundles import bundles_with, columns_of, parts_of, refresh_bundles


def seed_offerings(session: Session, offerings: Iterable[OfferingIn]) -> list[str]:
    """Add the offerings whose code the catalogue does not have; returns their codes. What is there stays as it is.

    Lists show the newest first: by its id the last one is the newest, though bundles come after their parts.
    """
    known = set(session.scalars(select(Offering.code)))
    added = [offering for offering in offerings if offering.code not in known]
    rows = [(ids.new_id(), offering) for offering in added]
    for offering_id, offering in sorted(rows, key=lambda row: bool(row[1].bundles)):
        session.add(Offering(id=offering_id, **columns_of(session, offering), state=OfferingState.ACTIVE))
        session.flush()
    return [offering.code for offering in added]


def draft_offering(session: Session, wish: OfferingIn, *, offering_id: str, actor: Actor) -> Offering:
    """A new offering that nobody can order yet. Raises OfferingCodeTaken, ValidationFailed for a bundle that does not
    fit together; a lost race raises IntegrityError."""
    _hold_catalogue(session)
    if session.scalar(select(Offering.id).where(Offering.code == wish.code)) is not None:
        raise OfferingCodeTaken()
    offering = Offering(id=offering_id, **columns_of(session, wish), state=OfferingState.DRAFT)
    session.add(offering)
    record_act(session, actor, "offering.drafted", offering.id, code=offering.code)
    return offering


def change_offering(session: Session, wish: OfferingIn, *, offering_id: str, actor: Actor) -> Offering:
    """Replace what an offering says; orders keep what it was when they were placed.

    Raises NotFound, ValidationFailed for a bundle that does not fit together, and OfferingNotEditable for a retired
    one, for another code, which orders and rules refer to, and for what makes a part into a bundle or the reverse.
    """
    offering = _held(session, offering_id)
    if offering.state is OfferingState.RETIRED or offering.code != wish.code:
        raise OfferingNotEditable("A retired offering and an offering's code stay as they are")
    if bool(offering.bundles) is not bool(wish.bundles):
        raise OfferingNotEditable("A bundle stays a bundle")
    said = columns_of(session, wish)
    changed = {name: value for name, value in said.items() if getattr(offering, name) != value}
    for name, value in changed.items():
        setattr(offering, name, value)
    session.flush()
    refresh_bundles(session, offering)
    record_act(session, actor, "offering.changed", offering.id, changed=sorted(changed))
    return offering


def put_offering_on_sale(session: Session, *, offering_id: str, actor: Actor) -> Offering:
    """Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    unsold = [part.code for part in parts_of(session, offering) if part.state is not OfferingState.ACTIVE]
    if offering.bundles and unsold:
        raise OfferingNotEditable(f"Not on sale: {', '.join(unsold)}")
    offering.put_on_sale()
    record_act(session, actor, "offering.activated", offering.id, code=offering.code)
    return offering


def retire_offering(session: Session, *, offering_id: str, actor: Actor) -> Offering:
    """Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    _check_unbundled(session, offering)
    offering.retire()
    record_act(session, actor, "offering.retired", offering.id, code=offering.code)
    return offering


def discard_draft(session: Session, *, offering_id: str, actor: Actor) -> None:
    """Remove an offering that was never on sale. Raises NotFound, OfferingNotEditable."""
    offering = _held(session, offering_id)
    if offering.state is not OfferingState.DRAFT:
        raise OfferingNotEditable(f"The offering is {offering.state.value}")
    _check_unbundled(session, offering)
    record_act(session, actor, "offering.discarded", offering.id, code=offering.code)
    session.delete(offering)


def _check_unbundled(session: Session, offering: Offering) -> None:
    if bundles := bundles_with(session, offering.code):
        raise OfferingNotEditable(f"It is part of {', '.join(one.code for one in bundles)}")


def _held(session: Session, offering_id: str) -> Offering:
    _hold_catalogue(session)
    offering = session.get(Offering, offering_id)
    if offering is None:
        raise NotFound()
    return offering


def _hold_catalogue(session: Session) -> None:
    """Changes come one after the other: what a bundle says, and whether a part may go, is about several rows."""
    session.execute(select(Offering.id).order_by(Offering.id).with_for_update())
