"""Postal addresses, the number and further lines of an account."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from auth import events
from auth.errors import LineTaken, NothingToVerify, PhoneAlreadyRegistered, TooMany
from auth.models import Address, Line, User
from auth.use_cases.accounts import lock_user, phone_taken
from common import clock
from common.errors import NotFound

MAX_ADDRESSES = 20
MAX_LINES = 20


def add_address(session: Session, *, user_id: str, address_id: str, fields: dict[str, Any]) -> Address:
    """Raises TooMany."""
    lock_user(session, user_id)
    _refuse_more(session, Address, user_id, MAX_ADDRESSES)
    address = Address(id=address_id, user_id=user_id, **fields)
    session.add(address)
    session.flush()
    return address


def change_address(session: Session, *, user_id: str, address_id: str, fields: dict[str, Any]) -> Address:
    """Set the given fields. Raises NotFound."""
    address = session.get(Address, address_id, with_for_update=True)
    if address is None or address.user_id != user_id:
        raise NotFound()
    for name, value in fields.items():
        setattr(address, name, value)
    return address


def remove_address(session: Session, *, user_id: str, address_id: str) -> None:
    """Raises NotFound."""
    session.delete(change_address(session, user_id=user_id, address_id=address_id, fields={}))


def refuse_taken_phone(session: Session, *, user_id: str, phone: str) -> None:
    """Raises PhoneAlreadyRegistered for a number that is an account's, or another account's line: a line of one's own
    may become one's number."""
    if phone_taken(session, phone, but_line_of=user_id):
        raise PhoneAlreadyRegistered()


def change_phone(session: Session, *, user_id: str, phone: str) -> User:
    """The number that the user has just shown to be theirs is the account's from now on, and no line of it any more;
    the old one is anybody's, and is told. Raises PhoneAlreadyRegistered; a lost race raises IntegrityError."""
    user = lock_user(session, user_id)
    refuse_taken_phone(session, user_id=user_id, phone=phone)
    old, user.phone, user.phone_verified_at = user.phone, phone, clock.now()
    line = session.scalar(select(Line).where(Line.user_id == user_id, Line.msisdn == phone))
    if line is not None:
        session.delete(line)
    session.flush()
    if line is not None and line.verified_at is not None:
        changed = events.user_updated(user, ["phone", "lines"], lines=_verified_lines(session, user_id))
    else:
        changed = events.user_updated(user, ["phone"])
    told = events.user_phone_changed(user, old, user.phone_verified_at)
    session.add_all([changed, events.user_verified(user, "phone", phone), told])
    return user


def claim_line(session: Session, *, user_id: str, line_id: str, msisdn: str, label: str | None) -> Line:
    """A line that is the user's once its code is given. Raises LineTaken, TooMany."""
    lock_user(session, user_id)
    _refuse_more(session, Line, user_id, MAX_LINES)
    mine = session.scalar(select(Line).where(Line.user_id == user_id, Line.msisdn == msisdn))
    if mine is not None or phone_taken(session, msisdn):
        raise LineTaken()
    line = Line(id=line_id, user_id=user_id, msisdn=msisdn, label=label)
    session.add(line)
    session.flush()
    return line


def line_to_verify(session: Session, *, user_id: str, line_id: str) -> Line:
    """The line, locked. Raises NotFound, NothingToVerify."""
    line = _own_line(session, user_id, line_id)
    if line.verified_at is not None:
        raise NothingToVerify()
    return line


def mark_line_verified(session: Session, *, user: User, line: Line) -> None:
    """Raises LineTaken when another was faster."""
    if phone_taken(session, line.msisdn):
        raise LineTaken()
    line.verified_at = clock.now()
    session.flush()
    session.add(events.user_verified(user, "line", line.msisdn))
    session.add(events.user_updated(user, ["lines"], lines=_verified_lines(session, user.id)))


def remove_line(session: Session, *, user_id: str, line_id: str) -> None:
    """Raises NotFound."""
    user = lock_user(session, user_id)
    line = _own_line(session, user_id, line_id)
    session.delete(line)
    session.flush()
    if line.verified_at is not None:
        session.add(events.user_updated(user, ["lines"], lines=_verified_lines(session, user_id)))


def _own_line(session: Session, user_id: str, line_id: str) -> Line:
    line = session.get(Line, line_id, with_for_update=True)
    if line is None or line.user_id != user_id:
        raise NotFound()
    return line


def _verified_lines(session: Session, user_id: str) -> list[str]:
    own = select(Line.msisdn).where(Line.user_id == user_id, Line.verified_at.is_not(None))
    return list(session.scalars(own.order_by(Line.id)))


def _refuse_more(session: Session, kind: type[Address] | type[Line], user_id: str, most: int) -> None:
    if (session.scalar(select(func.count()).where(kind.user_id == user_id)) or 0) >= most:
        raise TooMany()
