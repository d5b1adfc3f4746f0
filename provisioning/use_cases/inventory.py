"""Stock: deliveries read line by line, items reserved, assigned and given back."""

import csv
import io
import re
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import ids
from common.errors import NotFound
from provisioning.models import StockFault, StockImport, StockItem, StockKind
from provisioning.use_cases.audit import Actor, record_act

_FORMS = {
    StockKind.MSISDN: (re.compile(r"\+[1-9][0-9]{7,14}"), "not a number in E.164, such as +94771234567"),
    StockKind.SIM: (re.compile(r"89[0-9]{16,18}"), "not an ICCID of 18 to 20 digits that begins with 89"),
}
AT_ONCE = 500


def import_stock(
    session: Session, *, kind: StockKind, import_id: str, text: str, actor: Actor
) -> tuple[StockImport, list[StockFault]]:
    """Take a delivery: CSV with the value in its first column, with or without a line of headings.

    A faulty line is reported and takes nothing else with it; what is known already is counted and left as it is, so a
    delivery may be read again. A lost race raises IntegrityError.
    """
    values, faults, lines = _read(kind, import_id, text)
    known = _known(session, list(values))
    delivery = StockImport(
        id=import_id,
        kind=kind,
        lines=lines,
        added=len(values) - len(known),
        known=lines - len(faults) - (len(values) - len(known)),
        faulty=len(faults),
    )
    session.add(delivery)
    session.flush()
    session.add_all(faults)
    session.add_all(
        StockItem(id=ids.new_id(), kind=kind, value=value, import_id=import_id)
        for value in values
        if value not in known
    )
    record_act(session, actor, f"{kind.value}.imported", import_id, added=delivery.added)
    return delivery, faults


def reserve_item(
    session: Session, *, kind: StockKind, item_id: str, user_id: str, time: timedelta, actor: Actor
) -> StockItem:
    """Raises NotFound, ItemNotAvailable."""
    item = _held(session, kind, item_id)
    item.reserve(user_id, time)
    record_act(session, actor, f"{kind.value}.reserved", item.id, user_id=user_id, value=item.value)
    return item


def assign_item(session: Session, *, kind: StockKind, item_id: str, user_id: str, actor: Actor) -> StockItem:
    """Raises NotFound, ItemNotAvailable."""
    item = _held(session, kind, item_id)
    item.assign(user_id)
    record_act(session, actor, f"{kind.value}.assigned", item.id, user_id=user_id, value=item.value)
    return item


def release_item(
    session: Session, *, kind: StockKind, item_id: str, quarantine: timedelta, actor: Actor
) -> StockItem:
    """Raises NotFound, ItemNotAvailable."""
    item = _held(session, kind, item_id)
    held_by = item.user_id
    item.release(quarantine)
    record_act(session, actor, f"{kind.value}.released", item.id, user_id=held_by, value=item.value)
    return item


def _read(kind: StockKind, import_id: str, text: str) -> tuple[dict[str, None], list[StockFault], int]:
    form, message = _FORMS[kind]
    values: dict[str, None] = {}
    faults: list[StockFault] = []
    lines = 0
    for number, row in enumerate(csv.reader(io.StringIO(text), strict=False), start=1):
        value = row[0].strip() if row else ""
        if not value or (number == 1 and value.lower() in ("msisdn", "iccid", "sim")):
            continue
        lines += 1
        if form.fullmatch(value):
            values[value] = None
        else:
            faults.append(StockFault(import_id=import_id, line=number, value=value[:60], message=message))
    return values, faults, lines


def _known(session: Session, values: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(values), AT_ONCE):
        some = values[start : start + AT_ONCE]
        found |= set(session.scalars(select(StockItem.value).where(StockItem.value.in_(some))))
    return found


def _held(session: Session, kind: StockKind, item_id: str) -> StockItem:
    item = session.get(StockItem, item_id, with_for_update=True)
    if item is None or item.kind is not kind:
        raise NotFound()
    return item
