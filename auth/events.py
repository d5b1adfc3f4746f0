"""Events that auth emits."""

from auth.models import LoginSession, User
from common import clock
from common.db.tables import Outbox
from common.messaging import new_event


def user_created(user: User) -> Outbox:
    return new_event(
        "user.created",
        subject=user.id,
        data={
            "user_id": user.id,
            "phone": user.phone,
            "email": user.email,
            "name": user.name,
            "language": user.language.value,
            "roles": user.roles,
            "created_at": clock.rfc3339(user.created_at),
        },
    )


def user_updated(user: User, changed: list[str]) -> Outbox:
    return new_event(
        "user.updated",
        subject=user.id,
        data={
            "user_id": user.id,
            "changed": sorted(changed),
            "phone": user.phone,
            "email": user.email,
            "name": user.name,
            "language": user.language.value,
        },
    )


def user_deactivated(user: User, reason: str) -> Outbox:
    return new_event("user.deactivated", subject=user.id, data={"user_id": user.id, "reason": reason})


def session_revoked(session: LoginSession, reason: str) -> Outbox:
    return new_event(
        "session.revoked",
        subject=session.user_id,
        data={"user_id": session.user_id, "session_id": session.id, "reason": reason},
    )
