"""Bundles: offerings made of offerings."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import ValidationFailed
from provisioning.errors import OfferingNotEditable
from provisioning.models import Offering, OfferingState, Order, Part
from provisioning.schemas import OfferingIn


def parts_of(session: Session, offering: Offering) -> list[Offering]:
    """The offerings that a bundle is made of, in its order; of any other offering itself."""
    return _by_codes(session, offering.bundles) if offering.bundles else [offering]


def columns_of(session: Session, wish: OfferingIn) -> dict[str, Any]:
    """What an offering's row says, for a bundle with what follows from its parts. Raises ValidationFailed."""
    said = wish.model_dump(mode="json")
    if not wish.bundles:
        return said
    parts = _by_codes(session, wish.bundles)
    fault = _fault(wish, parts)
    if fault is not None:
        raise ValidationFailed(f"bundles: {fault}", errors=[{"field": "bundles", "message": fault}])
    return said | _following(parts)


def refresh_bundles(session: Session, part: Offering) -> None:
    """Have the bundles of an offering that was changed say what follows from it now. Raises OfferingNotEditable when
    one would not fit together any more."""
    for bundle in bundles_with(session, part.code):
        parts = _by_codes(session, bundle.bundles)
        if _clash(parts):
            raise OfferingNotEditable(f"The bundle {bundle.code} would not fit together")
        for name, value in _following(parts).items():
            setattr(bundle, name, value)


def bundles_with(session: Session, code: str) -> list[Offering]:
    """The bundles that an offering is part of and that are sold or drafted."""
    kept = select(Offering).where(Offering.state != OfferingState.RETIRED).order_by(Offering.code)
    return [one for one in session.scalars(kept) if code in one.bundles]


def copy_parts(session: Session, offering: Offering, order: Order) -> None:
    """Give the order of a bundle its own copy of the parts, each with its share of the characteristics."""
    if not offering.bundles:
        return
    parts = []
    for part in parts_of(session, offering):
        names = {spec["name"] for spec in part.characteristics}
        said = {name: value for name, value in order.characteristics.items() if name in names}
        parts.append(
            Part(
                offering_id=part.id,
                offering_code=part.code,
                offering_name=part.name,
                category=part.category,
                element=part.element,
                validity_days=part.validity_days,
                stackable=part.stackable,
                allowances=part.allowances,
                characteristics=said,
            )
        )
    order.bundle(parts)


def _by_codes(session: Session, codes: list[str]) -> list[Offering]:
    found = {one.code: one for one in session.scalars(select(Offering).where(Offering.code.in_(codes)))}
    return [found[code] for code in codes if code in found]


def _fault(wish: OfferingIn, parts: list[Offering]) -> str | None:
    if len(parts) < len(wish.bundles):
        return "there is no such offering"
    if any(part.bundles or part.state is OfferingState.RETIRED or part.code == wish.code for part in parts):
        return "a bundle is made of offerings that are sold or drafted and are no bundles"
    if any(part.currency != wish.currency for part in parts):
        return "all parts have the bundle's currency"
    return _clash(parts)


def _clash(parts: list[Offering]) -> str | None:
    names = [spec["name"] for part in parts for spec in part.characteristics]
    if len(names) > len(set(names)):
        return "two parts have a characteristic of the same name"
    codes = {part.code for part in parts}
    return "two parts exclude each other" if any(codes & set(part.excludes) for part in parts) else None


def _following(parts: list[Offering]) -> dict[str, Any]:
    return {
        "characteristics": [spec for part in parts for spec in part.characteristics],
        "allowances": [allowance for part in parts for allowance in part.allowances],
        "requires_kyc": any(part.requires_kyc for part in parts),
        "stackable": all(part.stackable for part in parts),
        "element": parts[0].element,
    }
