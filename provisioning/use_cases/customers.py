"""What provisioning knows of customers, in whatever order auth's events come."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from provisioning.models import Action, Customer, Service, ServiceState
from provisioning.use_cases.commands import tell_element


def record_profile(session: Session, *, user_id: str, phone: str, at: datetime) -> None:
    """Keep the profile that was current at an instant. Safe to repeat."""
    _customer(session, user_id).update_profile(phone=phone, at=at)


def record_deactivation(session: Session, *, user_id: str, at: datetime) -> None:
    """The account was closed or blocked. Safe to repeat."""
    _customer(session, user_id).deactivated_at = at


def record_kyc_approval(session: Session, *, user_id: str, at: datetime) -> None:
    """The customer's identity has been checked. Safe to repeat."""
    _customer(session, user_id).kyc_approved_at = at


def set_barred(session: Session, *, user_id: str, barred: bool, at: datetime) -> None:
    """Suspend all that the customer has, or restore it. Safe to repeat; news older than known changes nothing."""
    if not _customer(session, user_id).set_barred(barred, at=at):
        return
    kept = select(Service).where(Service.user_id == user_id, Service.state != ServiceState.TERMINATED)
    for service in session.scalars(kept.order_by(Service.id).with_for_update()):
        if barred:
            tell_element(session, service, Action.SUSPEND, "account_barred")
        else:
            tell_element(session, service, Action.RESTORE, "account_restored")


def _customer(session: Session, user_id: str) -> Customer:
    customer = session.get(Customer, user_id, with_for_update=True)
    if customer is None:
        customer = Customer(user_id=user_id, barred=False)
        session.add(customer)
    return customer
