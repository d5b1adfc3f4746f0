"""Who may order what."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import AppError
from provisioning.errors import (
    AccountBarred,
    AccountClosed,
    AlreadyActive,
    ExcludedByService,
    KycRequired,
    OutOfStock,
    RequiresService,
)
from provisioning.models import Customer, Offering, Order, Service, ServiceState
from provisioning.use_cases.bundles import parts_of
from provisioning.use_cases.characteristics import STOCK, specs_of
from provisioning.use_cases.stock import in_stock


def hold_customer(session: Session, user_id: str) -> Customer:
    """What is known of a customer, locked: their orders and what becomes of their account come one after the other.

    A customer of whom nothing is known yet is made; a lost race raises IntegrityError.
    """
    customer = session.get(Customer, user_id, with_for_update=True)
    if customer is None:
        customer = Customer(user_id=user_id, barred=False)
        session.add(customer)
        session.flush()
    return customer


def obstacles(session: Session, *, user_id: str, offering: Offering) -> list[AppError]:
    """Why the customer may not order the offering now, as the refusals that an order would get; the gravest first."""
    customer = session.get(Customer, user_id)
    found: list[AppError] = []
    if customer is not None and customer.deactivated_at is not None:
        found.append(AccountClosed())
    if customer is not None and customer.barred:
        found.append(AccountBarred())
    if offering.requires_kyc and (customer is None or customer.kyc_approved_at is None):
        found.append(KycRequired())
    held = held_codes(session, user_id)
    parts = parts_of(session, offering)
    codes = {offering.code, *(part.code for part in parts)}
    if any(not part.stackable and part.code in held for part in parts):
        found.append(AlreadyActive())
    if clash := sorted(held & excluded_by(session, codes)):
        found.append(ExcludedByService(f"It does not go together with {', '.join(clash)}"))
    if missing := sorted({code for one in (offering, *parts) for code in one.requires} - held - codes):
        found.append(RequiresService(f"It needs {', '.join(missing)}"))
    needed = {STOCK[spec.type] for spec in specs_of(offering) if spec.required and spec.type in STOCK}
    if not all(in_stock(session, kind, user_id) for kind in needed):
        found.append(OutOfStock())
    return found


def paid_obstacle(session: Session, order: Order) -> str | None:
    """Why an order that is paid now cannot be activated: what came between placing and paying it."""
    held = held_codes(session, order.user_id)
    if any(not part.stackable and part.offering_code in held for part in order.parts):
        return AlreadyActive.code
    if held & excluded_by(session, {order.offering_code, *(part.offering_code for part in order.parts)}):
        return ExcludedByService.code
    return None


def held_codes(session: Session, user_id: str) -> set[str]:
    """The codes of the offerings that the customer has, or is about to have."""
    kept = select(Service.offering_code).where(
        Service.user_id == user_id, Service.state != ServiceState.TERMINATED
    )
    return set(session.scalars(kept))


def excluded_by(session: Session, codes: set[str]) -> set[str]:
    """The codes that do not go together with one of the offerings, whichever of the two says so."""
    rules = session.execute(select(Offering.code, Offering.excludes)).all()
    pairs = [(mine, other) for mine, others in rules for other in others]
    return {b for a, b in pairs if a in codes} | {a for a, b in pairs if b in codes}
