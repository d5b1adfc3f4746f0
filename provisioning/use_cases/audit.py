"""Keeping what staff did, in the transaction in which they did it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from provisioning.models import AdminAct


@dataclass(frozen=True)
class Actor:
    """A member of staff at work."""

    user_id: str
    ip: str


def record_act(
    session: Session, actor: Actor, action: str, target: str, *, user_id: str | None = None, **detail: Any
) -> None:
    session.add(
        AdminAct(
            actor_id=actor.user_id,
            action=action,
            target=target,
            user_id=user_id,
            detail=detail,
            ip=actor.ip[:64],
        )
    )
