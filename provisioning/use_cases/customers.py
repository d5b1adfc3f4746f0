"""What provisioning knows of customers, in whatever order auth's events come."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from provisioning.models import Action, CommandState, Order, OrderState, Service, ServiceState
from provisioning.use_cases.commands import tell_element
from provisioning.use_cases.eligibility import hold_customer
from provisioning.use_cases.orders import pending_commands, withdraw_order


def record_profile(session: Session, *, user_id: str, phone: str, at: datetime) -> None:
    """Keep the profile that was current at an instant. Safe to repeat."""
    hold_customer(session, user_id).update_profile(phone=phone, at=at)


def record_deactivation(session: Session, *, user_id: str, at: datetime) -> None:
    """The account was closed or blocked: what was ordered is cancelled, what was on is switched off, also when it has
    been opened again since. Safe to repeat."""
    unfinished = (OrderState.PENDING_PAYMENT, OrderState.ACKNOWLEDGED)
    mine = select(Order).where(Order.user_id == user_id, Order.state.in_(unfinished))
    orders = session.scalars(mine.order_by(Order.id).with_for_update()).all()
    customer = hold_customer(session, user_id)
    customer.set_active(False, at=at)
    closed = customer.deactivated_at is not None
    for order in orders:
        if closed or order.created_at <= at:
            withdraw_order(session, order, "account_closed")
    for service in _kept_services(session, user_id):
        if (closed or service.created_at <= at) and service.deactivation_requested_at is None:
            service.end_with_account()
            tell_element(session, service, Action.DEACTIVATE, "account_closed")


def record_reactivation(session: Session, *, user_id: str, at: datetime) -> None:
    """The account was opened again: its customer may order. Safe to repeat."""
    hold_customer(session, user_id).set_active(True, at=at)


def record_kyc_approval(session: Session, *, user_id: str, at: datetime) -> None:
    """The customer's identity has been checked. Safe to repeat."""
    hold_customer(session, user_id).kyc_approved_at = at


def set_barred(session: Session, *, user_id: str, barred: bool, at: datetime) -> None:
    """Suspend all that the customer has, or restore it. Safe to repeat; news older than known changes nothing."""
    if not hold_customer(session, user_id).set_barred(barred, at=at):
        return
    for service in _kept_services(session, user_id):
        for command in pending_commands(session, service):
            if command.action in (Action.SUSPEND, Action.RESTORE) and not command.attempts:
                command.settle(CommandState.CANCELLED)
        if barred:
            tell_element(session, service, Action.SUSPEND, "account_barred")
        else:
            tell_element(session, service, Action.RESTORE, "account_restored")


def _kept_services(session: Session, user_id: str) -> list[Service]:
    kept = select(Service).where(Service.user_id == user_id, Service.state != ServiceState.TERMINATED)
    return list(session.scalars(kept.order_by(Service.id).with_for_update()))
