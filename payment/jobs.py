"""The worker's jobs: the steps of payments and refunds whose request is over. Each step is its own transaction.

Whatever dies in between is taken up again by the next run: the rows' states say where.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from flask import current_app
from sqlalchemy.exc import OperationalError

from common import clock
from common.db import reading, transaction
from payment import queries
from payment.config import Settings
from payment.gateway import GatewayTrouble, Outcome, RefundRefused, Verdict
from payment.gateway.routing import Gateways, Guarded
from payment.gateway.simulated import SimulatedGateway
from payment.models import CardLeft, MethodType, Payment, PaymentState, SavedMethod
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
    went_well = _each({payment_id: partial(advance_payment, payment_id) for payment_id in due})
    return went_well and len(due) == queries.DUE_BATCH


def advance_payment(payment_id: str) -> None:
    """One look at a due payment: admit it, ask the gateway about it, or give it up. Raises GatewayTrouble when the
    gateway does not say: the next look comes after the backoff."""
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
    gateway = gateways().named(payment.gateway)
    outcome = _charge(gateway, payment) if charge_now else _resolve(gateway, payment, give_up)
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
    went_well = _each({refund_id: partial(make_refund, refund_id) for refund_id in due})
    return went_well and len(due) == queries.DUE_BATCH


def make_refund(refund_id: str) -> None:
    """One attempt at a refund. The gateway knows it by its id, so that a repeated attempt gives nothing twice. Raises
    GatewayTrouble when the gateway does not say."""
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
    except RefundRefused as refusal:
        with transaction() as session:
            refunds.give_up_refund(session, refund, str(refusal))
        return
    with transaction() as session:
        refunds.settle_refund(session, refund)


def forget_methods() -> bool:
    """Have the gateways forget removed cards, those left for one payment only, and those for which nothing stands;
    True when there are more."""
    names = gateways().names
    with reading() as session:
        removed = queries.list_methods_to_forget(session, names)
        used = queries.list_payments_to_drop_cards(session, names)
        behind = queries.list_cards_left_behind(session, names, before=clock.now() - methods.LEFT_FOR)
    went_well = (
        _each({method.id: partial(_forget_method, method) for method in removed}),
        _each({payment.id: partial(_forget_card_of, payment) for payment in used}),
        _each({card.key: partial(_forget_card_left, card) for card in behind}),
    )
    return all(went_well) and queries.DUE_BATCH in (len(removed), len(used), len(behind))


def _forget_method(method: SavedMethod) -> None:
    if method.token is not None:
        gateways().named(method.gateway).forget(method.token)
    with transaction() as session:
        methods.forget_method(session, method.id)


def _forget_card_of(payment: Payment) -> None:
    if payment.gateway_token is not None:
        gateways().named(payment.gateway).forget(payment.gateway_token)
    with transaction() as session:
        methods.drop_token(session, payment)


def _forget_card_left(card: CardLeft) -> None:
    gateways().named(card.gateway).forget_left(card.key)
    with transaction() as session:
        methods.drop_card(session, card.key)


def _each(steps: Mapping[str, Callable[[], None]]) -> bool:
    """Take a step for each thing (by its id): what goes wrong with one is logged, and does not keep the others
    waiting. Whether all went well."""
    failed = 0
    for thing, step in steps.items():
        try:
            step()
        except OperationalError:  # the database is away, for the others too
            raise
        except GatewayTrouble as trouble:
            failed += 1
            log.warning("%s: the gateway does not say (%s)", thing, trouble)
        except Exception:
            failed += 1
            log.exception("%s cannot go on", thing)
    return not failed


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
