"""What an order says besides the offering, against what the offering asks for."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from provisioning.errors import InvalidCharacteristics
from provisioning.models import Offering, RingTone, StockKind, ToneState
from provisioning.schemas import CharacteristicSpec, CharacteristicType

STOCK = {CharacteristicType.MSISDN: StockKind.MSISDN, CharacteristicType.SIM: StockKind.SIM}
"""Characteristics that take an item of stock; what the order does not name is picked."""


def specs_of(offering: Offering) -> list[CharacteristicSpec]:
    return [CharacteristicSpec.model_validate(spec, strict=False) for spec in offering.characteristics]


def check_characteristics(
    session: Session, specs: list[CharacteristicSpec], given: dict[str, str], *, only_changes: bool = False
) -> None:
    """Raises InvalidCharacteristics naming each field at fault. With `only_changes` nothing is required, and only
    what may change on a live service is accepted."""
    by_name = {spec.name: spec for spec in specs}
    faults = dict.fromkeys(given.keys() - by_name.keys(), "not a characteristic of this offering")
    for name, spec in by_name.items():
        if name not in given:
            if spec.required and spec.type not in STOCK and not only_changes:
                faults[name] = "required"
        elif only_changes and not spec.changeable:
            faults[name] = "cannot be changed on a live service"
        elif (fault := _fault(session, spec, given[name])) is not None:
            faults[name] = fault
    if faults:
        raise InvalidCharacteristics(faults)


def _fault(session: Session, spec: CharacteristicSpec, value: str) -> str | None:
    match spec.type:
        case CharacteristicType.CHOICE:
            allowed = {option.value for option in spec.allowed_values or ()}
            return None if value in allowed else "not one of the allowed values"
        case CharacteristicType.RING_TONE:
            tone = select(RingTone.id).where(RingTone.code == value, RingTone.state == ToneState.ACTIVE)
            return None if session.scalar(tone) is not None else "not a tone of the catalogue of ring tones"
        case CharacteristicType.PHONE:
            return None if _is_e164(value) else "must be a phone number in E.164, such as +94771234567"
        case CharacteristicType.MSISDN | CharacteristicType.SIM:
            return None  # whether it can be had is for the stock to say


def _is_e164(value: str) -> bool:
    digits = value.removeprefix("+")
    shaped = value.startswith("+") and digits.isascii() and digits.isdigit() and 8 <= len(digits) <= 15
    return shaped and digits[0] != "0"
