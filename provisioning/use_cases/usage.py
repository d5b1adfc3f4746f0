"""Allowances drawn down by what customers use."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.messaging import Rejected
from provisioning.models import Service, ServiceState, Usage
from provisioning.schemas import UsageIn


def record_usage(session: Session, records: Sequence[UsageIn]) -> tuple[int, int]:
    """Draw records from the allowances of their customers, each id once: (new ones, known ones).

    What ends first is used first; what no allowance covers is kept with the record. A lost race raises IntegrityError.
    """
    known = set(session.scalars(select(Usage.id).where(Usage.id.in_([record.id for record in records]))))
    fresh = {record.id: record for record in records if record.id not in known}
    services = _services(session, {record.user_id for record in fresh.values()})
    for record in sorted(fresh.values(), key=lambda one: one.used_at):
        mine = services.get(record.user_id, [])
        drawn = sum(_draw(mine, record, record.amount))
        session.add(Usage(**record.model_dump(), drawn=drawn))
    return len(fresh), len(records) - len(fresh)


def show_used(session: Session, *, service_id: str, kind: str, used: int, until: datetime | None) -> None:
    """Take over how much of an allowance billing has counted as used. Safe to repeat, in any order."""
    service = session.get(Service, service_id, with_for_update=True)
    if service is None:
        raise Rejected(f"there is no service {service_id}")
    service.show_used(kind, used, until=until)


def _services(session: Session, users: set[str]) -> dict[str, list[Service]]:
    live = (ServiceState.ACTIVE, ServiceState.SUSPENDED)
    theirs = select(Service).where(Service.user_id.in_(users), Service.state.in_(live))
    found: dict[str, list[Service]] = {}
    for service in session.scalars(theirs.order_by(Service.id).with_for_update()):
        found.setdefault(service.user_id, []).append(service)
    for services in found.values():
        services.sort(key=lambda one: (one.expires_at is None, one.expires_at, one.id))
    return found


def _draw(services: list[Service], record: UsageIn, wanted: int) -> list[int]:
    """What each service gives."""
    drawn = []
    for service in services:
        got = service.draw(record.kind, wanted, at=record.used_at)
        wanted -= got
        drawn.append(got)
    return drawn
