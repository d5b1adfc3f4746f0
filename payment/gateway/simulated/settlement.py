"""The settlement file of the simulated gateway."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import literal, select

from common.db import reading
from payment.gateway import Verdict
from payment.gateway.simulated.tables import SimulatedCharge, SimulatedRefund
from payment.settlements import Line, write_settlement


def settlement(begin: datetime, end: datetime) -> Iterator[bytes]:
    """The gateway's settlement file of what was captured and refunded in a time, in pieces."""
    charges = (
        select(literal("charge"), SimulatedCharge.key, SimulatedCharge.amount_minor, SimulatedCharge.currency)
        .where(SimulatedCharge.verdict == Verdict.CAPTURED)
        .where(SimulatedCharge.created_at >= begin, SimulatedCharge.created_at < end)
    )
    refunds = (
        select(literal("refund"), SimulatedRefund.key, SimulatedRefund.amount_minor, SimulatedCharge.currency)
        .join(SimulatedCharge, SimulatedCharge.key == SimulatedRefund.charge_key)
        .where(SimulatedRefund.created_at >= begin, SimulatedRefund.created_at < end)
    )
    with reading() as session:
        for wanted in (charges, refunds):
            rows = session.execute(wanted, execution_options={"yield_per": 1_000})
            yield from write_settlement((Line(*row) for row in rows), header=wanted is charges)
