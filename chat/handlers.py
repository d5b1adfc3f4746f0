"""Events that chat consumes."""

from sqlalchemy.orm import Session

from chat import use_cases
from common.identity import REVOCATION_HANDLERS
from common.messaging import Event


def on_user_named(session: Session, event: Event) -> None:
    use_cases.record_user(session, user_id=event.subject, name=event.data["name"], at=event.time)


HANDLERS = {**REVOCATION_HANDLERS, "user.created": on_user_named, "user.updated": on_user_named}
