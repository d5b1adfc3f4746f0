"""Stock: deliveries read line by line, items reserved, assigned and given back."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import ids
from common.db import wake
from common.errors import NotFound
from provisioning.models import StockFault, StockImport, StockItem, StockKind
from provisioning.use_cases.audit import Actor, record_act

_FORMS = {
    StockKind.MSISDN: (re.compile(r"\+[1-9][0-9]{7,14}"), "not a number in E.164, such as +94771234567"),
    StockKind.SIM: (re.compile(r"89[0-9]{16,18}"), "not an ICCID of 18 to 20 digits that begins with 89"),
}
AT_ONCE = 500
JOB = "deliveries"
"""The worker's job that reads them."""
_LINE_ENDS, _SEPARATOR = re.compile("\r\n|\n|\r"), re.compile("[,;\t]")
_HEADINGS = ("msisdn", "iccid", "sim")


def take_delivery(
    session: Session, *, kind: StockKind, import_id: str, text: str, actor: Actor
) -> StockImport:
    """Take a delivery: CSV with the value in its first column, with or without a line of headings. The worker reads
    it."""
    delivery = StockImport(id=import_id, kind=kind, text=text, lines=sum(1 for _ in _values(text)))
    session.add(delivery)
    record_act(session, actor, f"{kind.value}.delivered", import_id, lines=delivery.lines)
    wake(session, JOB)
    return delivery


def read_on(session: Session, *, import_id: str) -> None:
    """Take the next lines of a delivery. A faulty line is kept as such and takes nothing else with it; what is known
    already is counted and left as it is, so a delivery may be sent again. A lost race raises IntegrityError."""
    delivery = session.get_one(StockImport, import_id, with_for_update=True)
    if delivery.text is None:
        return
    lines = list(islice(_values(delivery.text), delivery.read, delivery.read + AT_ONCE))
    form, message = _FORMS[delivery.kind]
    good = dict.fromkeys(value for _, value in lines if form.fullmatch(value))
    known = set(session.scalars(select(StockItem.value).where(StockItem.value.in_(list(good)))))
    faults = [(number, value) for number, value in lines if value not in good]
    session.add_all(
        StockFault(import_id=import_id, line=number, value=value[:60], message=message)
        for number, value in faults
    )
    session.add_all(
        StockItem(id=ids.new_id(), kind=delivery.kind, value=value, import_id=import_id)
        for value in good
        if value not in known
    )
    delivery.count(read=len(lines), added=len(good) - len(known), faulty=len(faults))


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


def _values(text: str) -> Iterator[tuple[int, str]]:
    """Each line's number and the value in its first column. Lines stand for themselves: an unclosed quote spoils only
    its own."""
    for number, line in enumerate(_LINE_ENDS.split(text.removeprefix("\ufeff")), start=1):
        value = _SEPARATOR.split(line, maxsplit=1)[0].strip().strip('"').strip()
        if value and not (number == 1 and value.lower() in _HEADINGS):
            yield number, value


def _held(session: Session, kind: StockKind, item_id: str) -> StockItem:
    item = session.get(StockItem, item_id, with_for_update=True)
    if item is None or item.kind is not kind:
        raise NotFound()
    return item
