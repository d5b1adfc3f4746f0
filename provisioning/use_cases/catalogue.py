"""The catalogue."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from provisioning.errors import InvalidCharacteristics
from provisioning.models import Offering, OfferingState
from provisioning.schemas import CharacteristicSpec, CharacteristicType, OfferingIn


def seed_offerings(session: Session, offerings: Iterable[OfferingIn]) -> list[str]:
    """Add the offerings whose code the catalogue does not have; returns their codes. What is there stays as it is."""
    known = set(session.scalars(select(Offering.code)))
    added = [offering for offering in offerings if offering.code not in known]
    session.add_all(
        Offering(**offering.model_dump(mode="json"), state=OfferingState.ACTIVE) for offering in added
    )
    return [offering.code for offering in added]


def check_characteristics(
    specs: list[CharacteristicSpec], given: dict[str, str], *, only_changes: bool = False
) -> None:
    """Raises InvalidCharacteristics naming each field at fault. With `only_changes` nothing is required, and only
    what may change on a live service is accepted."""
    by_name = {spec.name: spec for spec in specs}
    faults = dict.fromkeys(given.keys() - by_name.keys(), "not a characteristic of this offering")
    for name, spec in by_name.items():
        if name not in given:
            if spec.required and not only_changes:
                faults[name] = "required"
        elif only_changes and not spec.changeable:
            faults[name] = "cannot be changed on a live service"
        elif (fault := _fault(spec, given[name])) is not None:
            faults[name] = fault
    if faults:
        raise InvalidCharacteristics(faults)


def _fault(spec: CharacteristicSpec, value: str) -> str | None:
    if spec.type is CharacteristicType.CHOICE:
        allowed = {option.value for option in spec.allowed_values or ()}
        return None if value in allowed else "not one of the allowed values"
    digits = value.removeprefix("+")
    e164 = value.startswith("+") and digits.isascii() and digits.isdigit() and 8 <= len(digits) <= 15
    return None if e164 and digits[0] != "0" else "must be a phone number in E.164, such as +94771234567"
