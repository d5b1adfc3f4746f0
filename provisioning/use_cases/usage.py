"""What customers have used of their allowances: billing counts it, provisioning shows it with the service."""

from datetime import datetime

from sqlalchemy.orm import Session

from common.messaging import Rejected
from provisioning.models import Service


def show_used(session: Session, *, service_id: str, kind: str, used: int, until: datetime | None) -> None:
    """Take over how much of an allowance billing has counted as used. Safe to repeat, in any order."""
    service = session.get(Service, service_id, with_for_update=True)
    if service is None:
        raise Rejected(f"there is no service {service_id}")
    service.show_used(kind, used, until=until)
