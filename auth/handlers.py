"""Events that auth consumes: its audit trail keeps them all."""

from sqlalchemy.orm import Session

from auth import use_cases
from common.messaging import Event


def on_any_event(session: Session, event: Event) -> None:
    use_cases.record_audit(session, event)


AUDIT_HANDLERS = {"#": on_any_event}
