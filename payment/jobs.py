"""The worker's jobs: the steps of payments and refunds whose request is over. Each step is its own transaction.

Whatever dies in between is taken up again by the next run: the rows' states say where.
"""

import logging

from flask import current_app

from common.db import reading, transaction
from payment import queries
from payment.config import Settings
from payment.gateway import GatewayTrouble, Outcome, RefundRefused, Verdict
from payment.gateway.routing import Gateways, Guarded
from payment.gateway.simulated import SimulatedGateway
from payment.models import MethodType, Payment, PaymentState
from payment.use_cases import methods, payments, reconciliations, refunds

log = logging.getLogger(__name__)


def settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def gateways() -> Gateways:
    found: Gateways = current_app.extensions["payment_gateways"]
    return found


def advance_payments() -> bool:
    """Bring every due payment a step further; True when there are more."""
    with reading() as session:
        due = queries.list_due_payments(session)
    for payment_id in due:
        advance_payment(payment_id)
    return len(due) == queries.DUE_BATCH


def advance_payment(payment_id: str) -> None:
    """One look at a due payment: admit it, ask the gateway about it, or give it up."""
    with transaction() as session:
        payment = payments.claim_payment(session, payment_id)
        if payment is None:
            return
        charge_now = False
        give_up = None
        if payment.awaits_reference:
            charge_now = payments.admit_waiting(session, payment, deadline_s=settings().reference_young_s)
            if not charge_now:
                return
        elif payment.state is PaymentState.REQUIRES_ACTION:
            give_up = payments.reason_to_give_up(session, payment)
    try:
        gateway = gateways().named(payment.gateway)
        outcome = _charge(gateway, payment) if charge_now else _resolve(gateway, payment, give_up)
    except GatewayTrouble as trouble:
        log.warning("payment %s: the gateway does not say (%s)", payment.id, trouble)
        return
    with transaction() as session:
        payments.settle_charge(session, payment, outcome, action_s=settings().action_s)


def _charge(gateway: Guarded, payment: Payment) -> Outcome:
    assert payment.gateway_token is not None
    return gateway.charge(key=payment.id, amount=payment.amount, source=payment.gateway_token)


def _resolve(gateway: Guarded, payment: Payment, give_up: str | None) -> Outcome:
    """The outcome by the gateway's own word. A charge that never reached it is charged now when it left a token,
    under the same key, and else called off there."""
    if give_up is None:
        known = gateway.look_up(key=payment.id, amount=payment.amount)
        if known is not None:
            return known
        if payment.state is PaymentState.FAILED:
            return Outcome(Verdict.CANCELLED)
        if payment.gateway_token is not None:
            return _charge(gateway, payment)
    outcome = gateway.cancel(key=payment.id, amount=payment.amount)
    return (
        Outcome(Verdict.CANCELLED, give_up or "abandoned")
        if outcome.verdict is Verdict.CANCELLED
        else outcome
    )


def make_refunds() -> bool:
    """Make every due refund; True when there are more."""
    with reading() as session:
        due = queries.list_due_refunds(session)
    for refund_id in due:
        make_refund(refund_id)
    return len(due) == queries.DUE_BATCH


def make_refund(refund_id: str) -> None:
    """One attempt at a refund. The gateway knows it by its id, so that a repeated attempt gives nothing twice."""
    with transaction() as session:
        claimed = refunds.claim_refund(session, refund_id)
    if claimed is None:
        return
    refund, payment = claimed
    try:
        if payment.method_type is not MethodType.WALLET:
            gateways().named(payment.gateway).refund(
                key=refund.id, charge_key=payment.id, amount=refund.amount, retries=refund.retries
            )
    except GatewayTrouble as trouble:
        log.warning("refund %s: the gateway does not say (%s)", refund.id, trouble)
        return
    except RefundRefused as refusal:
        with transaction() as session:
            refunds.give_up_refund(session, refund, str(refusal))
        return
    with transaction() as session:
        refunds.settle_refund(session, refund)


def forget_methods() -> bool:
    """Have the gateways forget removed cards, and those left for one payment only; True when there are more."""
    with reading() as session:
        removed = queries.list_methods_to_forget(session)
        used = queries.list_payments_to_drop_cards(session)
    for method in removed:
        if not _forgotten(method.gateway, method.token):
            return False
        with transaction() as session:
            methods.forget_method(session, method.id)
    for payment in used:
        if not _forgotten(payment.gateway, payment.gateway_token):
            return False
        with transaction() as session:
            methods.drop_token(session, payment)
    return queries.DUE_BATCH in (len(removed), len(used))


def _forgotten(gateway: str | None, token: str | None) -> bool:
    try:
        if token is not None:
            gateways().named(gateway).forget(token)
    except GatewayTrouble as trouble:
        log.warning("a card is not forgotten yet: gateway %s does not answer (%s)", gateway, trouble)
        return False
    return True


def compare_settlements() -> bool:
    """A batch of every running reconciliation, and of the lines of one that is over; True when there are more."""
    with reading() as session:
        running = queries.list_running_reconciliations(session)
        broken_off = queries.list_uploads_broken_off(session)
        over = queries.find_run_with_lines_left(session)
    more = over is not None
    for run_id in running:
        with transaction() as session:
            more |= reconciliations.compare_batch(session, run_id)
    for run_id in broken_off:
        with transaction() as session:
            reconciliations.refuse_reconciliation(session, run_id)
    if over is not None:
        with transaction() as session:
            reconciliations.clear_lines(session, over)
    return more


def send_callbacks() -> bool:
    """The simulated gateway's own work, for which it has no process; True when there is more."""
    simulated = gateways().inner.get("simulated")
    return isinstance(simulated, SimulatedGateway) and simulated.send_callbacks()
