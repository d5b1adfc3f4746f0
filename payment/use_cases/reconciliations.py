"""Comparing a settlement with our payments, a batch per transaction: whatever dies goes on at the last batch."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, exists, func, literal, select, update
from sqlalchemy.orm import Session

from common import clock, ids
from common.db import wake
from common.db.bulk import insert_many
from common.errors import NotFound
from payment.models import (
    CAPTURED_STATES,
    PENDING,
    Difference,
    DifferenceKind,
    LineKind,
    MethodType,
    Payment,
    PaymentState,
    Reconciliation,
    ReconciliationState,
    Refund,
    RefundState,
    Resolution,
    SettlementLine,
    insert_rows,
)
from payment.settlements import Line, day_begins

BATCH = 10_000
LONGEST_UNSETTLED = timedelta(days=60)
"""A payment that is captured longer than this after it was begun is not looked for in a settlement."""
_COLUMNS = ("reconciliation_id", "n", "kind", "key", "amount_minor", "currency")


def begin_reconciliation(
    session: Session, *, run_id: str, gateway: str, from_on: date, to_on: date, created_by: str
) -> Reconciliation:
    """A run to be given its lines. One that is there broke off: what it was given is forgotten, unless it was all."""
    begun = session.get(Reconciliation, run_id, with_for_update=True)
    if begun is not None:
        if begun.state is ReconciliationState.UPLOADING:
            _delete_lines(session, run_id, 0, begun.lines)
            begun.lines = 0
            session.flush()
        return begun
    run = Reconciliation(
        id=run_id,
        gateway=gateway,
        from_on=from_on,
        to_on=to_on,
        state=ReconciliationState.UPLOADING,
        lines=0,
        line=0,
        cursor="",
        matched=0,
        created_by=created_by,
    )
    session.add(run)
    session.flush()
    return run


def add_lines(session: Session, run: Reconciliation, lines: Sequence[Line]) -> None:
    rows = ((run.id, run.lines + place, *line) for place, line in enumerate(lines, 1))
    insert_many(session, SettlementLine.__table__, _COLUMNS, rows)
    run.lines += len(lines)
    session.execute(update(Reconciliation).where(Reconciliation.id == run.id).values(lines=run.lines))


def start_comparing(session: Session, run: Reconciliation) -> None:
    """All lines are here: the worker compares."""
    run.state = ReconciliationState.THEIRS
    session.execute(
        update(Reconciliation).where(Reconciliation.id == run.id).values(state=ReconciliationState.THEIRS)
    )
    wake(session, "reconciliations")


def refuse_reconciliation(session: Session, run_id: str) -> None:
    """The file cannot be read, or did not come to its end: nothing of it counts. No-op once it was complete."""
    session.execute(
        update(Reconciliation)
        .where(Reconciliation.id == run_id, Reconciliation.state == ReconciliationState.UPLOADING)
        .values(state=ReconciliationState.REFUSED)
    )


def clear_lines(session: Session, run_id: str) -> None:
    """Some of the lines that a finished run does not need any more; all at once would lock SQLite for seconds."""
    run = session.get_one(Reconciliation, run_id, with_for_update=True)
    _delete_lines(session, run_id, run.cleared, run.cleared + BATCH)
    run.cleared = min(run.lines, run.cleared + BATCH)


def _delete_lines(session: Session, run_id: str, after: int, upto: int) -> None:
    session.execute(
        delete(SettlementLine).where(
            SettlementLine.reconciliation_id == run_id, SettlementLine.n > after, SettlementLine.n <= upto
        )
    )


def compare_batch(session: Session, run_id: str) -> bool:
    """The next batch; False when the run is complete."""
    run = session.get(Reconciliation, run_id, with_for_update=True)
    if run is None or run.state not in (ReconciliationState.THEIRS, ReconciliationState.OURS):
        return False
    if run.state is ReconciliationState.THEIRS:
        _compare_theirs(session, run)
    else:
        _compare_ours(session, run)
    return True


def _compare_theirs(session: Session, run: Reconciliation) -> None:
    upto = run.line + BATCH
    batch = (
        SettlementLine.reconciliation_id == run.id,
        SettlementLine.n > run.line,
        SettlementLine.n <= upto,
    )
    charged_there = Payment.gateway == run.gateway
    refunded_there = exists().where(Payment.id == Refund.payment_id, charged_there)
    unmatched = 0
    for kind, ours, at_gateway, captured in (
        (LineKind.CHARGE, Payment, charged_there, Payment.state.in_(CAPTURED_STATES)),
        (LineKind.REFUND, Refund, refunded_there, Refund.state == RefundState.COMPLETED),
    ):
        found = _problem(ours, captured, kind)
        rows = session.execute(
            select(
                SettlementLine.key, SettlementLine.amount_minor, SettlementLine.currency, found[0], found[1]
            )
            .outerjoin(ours, (ours.id == SettlementLine.key) & at_gateway)
            .where(*batch, SettlementLine.kind == kind, found[0].is_not(None))
        ).all()
        unmatched += len(rows)
        _note(session, run, kind, [(DifferenceKind(r[3]), r[0], r[4], r[1], r[2]) for r in rows])
    seen = session.scalar(select(func.count()).select_from(SettlementLine).where(*batch)) or 0
    run.matched += seen - unmatched
    run.line = min(upto, run.lines)
    if run.line >= run.lines:
        run.state = ReconciliationState.OURS


def _problem(ours: Any, captured: ColumnElement[bool], kind: LineKind) -> tuple[Any, Any]:
    """What is wrong with a line (null: nothing), and our amount."""
    earlier = SettlementLine.__table__.alias("earlier")
    twice = exists().where(
        earlier.c.reconciliation_id == SettlementLine.reconciliation_id,
        earlier.c.key == SettlementLine.key,
        earlier.c.kind == kind,
        earlier.c.n < SettlementLine.n,
    )
    same = (ours.amount_minor == SettlementLine.amount_minor) & (ours.currency == SettlementLine.currency)
    wrong = case(
        (ours.id.is_(None), literal(DifferenceKind.MISSING_HERE.value)),
        (twice, literal(DifferenceKind.TWICE_THERE.value)),
        (~same, literal(DifferenceKind.AMOUNT_DIFFERS.value)),
        (~captured, literal(DifferenceKind.STATE_DIFFERS.value)),
        else_=None,
    )
    return wrong, ours.amount_minor


def _compare_ours(session: Session, run: Reconciliation) -> None:
    """Ours of the days that their file does not have; payments first, then refunds."""
    name, _, last = (run.cursor or f"{LineKind.CHARGE} {_first_id(run)}").partition(" ")
    kind = LineKind(name)
    batch = session.execute(_ours(run, kind).where(_id(kind) > last).order_by(_id(kind)).limit(BATCH)).all()
    if batch:
        there = set(
            session.scalars(
                select(SettlementLine.key).where(
                    SettlementLine.reconciliation_id == run.id,
                    SettlementLine.kind == kind,
                    SettlementLine.key > last,
                    SettlementLine.key <= batch[-1].id,
                )
            )
        )
        missing = [row for row in batch if row.id not in there]
        _note(
            session,
            run,
            kind,
            [(DifferenceKind.MISSING_THERE, row.id, row.amount_minor, None, row.currency) for row in missing],
        )
        run.cursor = f"{kind} {batch[-1].id}"
    elif kind is LineKind.CHARGE:
        run.cursor = f"{LineKind.REFUND} {_first_id(run)}"
    else:
        run.state, run.completed_at = ReconciliationState.COMPLETED, clock.now()


def _first_id(run: Reconciliation) -> str:
    """Below every id that can have been captured in the days: ids begin with the time at which they were made."""
    made_ms = int((day_begins(run.from_on) - LONGEST_UNSETTLED).timestamp() * 1000)
    return f"{made_ms:012x}"[:8] + "-" + f"{made_ms:012x}"[8:]


def _id(kind: LineKind) -> Any:
    return Payment.id if kind is LineKind.CHARGE else Refund.id


def _ours(run: Reconciliation, kind: LineKind) -> Select[str, int, str]:
    begin, end = day_begins(run.from_on), day_begins(run.to_on + timedelta(days=1))
    if kind is LineKind.CHARGE:
        return select(Payment.id, Payment.amount_minor, Payment.currency).where(
            Payment.gateway == run.gateway,
            Payment.completed_at >= begin,
            Payment.completed_at < end,
        )
    return (
        select(Refund.id, Refund.amount_minor, Refund.currency)
        .join(Payment, Payment.id == Refund.payment_id)
        .where(
            Payment.gateway == run.gateway,
            Payment.method_type != MethodType.WALLET,
            Refund.state == RefundState.COMPLETED,
            Refund.by_hand.is_(False),
            Refund.completed_at >= begin,
            Refund.completed_at < end,
        )
    )


def _note(session: Session, run: Reconciliation, kind: LineKind, found: Sequence[tuple[Any, ...]]) -> None:
    """Write differences down; where the gateway can be asked about one, it is."""
    rows = []
    for what, key, ours, theirs, currency in found:
        asked = kind is LineKind.CHARGE and what is DifferenceKind.STATE_DIFFERS
        rows.append(
            Difference(
                id=ids.new_id(),
                reconciliation_id=run.id,
                kind=what,
                subject=kind,
                key=key,
                ours_minor=ours,
                theirs_minor=theirs,
                currency=currency,
                resolution=Resolution.GATEWAY_ASKED if asked else Resolution.OPEN,
            )
        )
        if asked:
            session.execute(
                update(Payment)
                .where(
                    Payment.id == key,
                    Payment.state.in_((*PENDING, PaymentState.FAILED)),
                    Payment.awaits_reference.is_(False),
                )
                .values(check_at=clock.now()),
                execution_options={"synchronize_session": False},
            )
            wake(session, "payments")
    if rows:
        insert_rows(session, *rows)


def resolve_difference(
    session: Session, *, run_id: str, difference_id: str, by: str, note: str
) -> Difference:
    """Raises NotFound, DifferenceResolved."""
    difference = session.get(Difference, difference_id, with_for_update=True)
    if difference is None or difference.reconciliation_id != run_id:
        raise NotFound()
    difference.resolve(by=by, note=note)
    return difference
