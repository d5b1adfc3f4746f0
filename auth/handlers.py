"""Events that auth consumes: its audit trail keeps them all."""

from sqlalchemy.orm import Session

from auth.use_cases.audit import record_event
from common.messaging import Event


def on_any_event(session: Session, event: Event) -> None:
    record_event(session, event)


AUDIT_HANDLERS = {"#": on_any_event}
