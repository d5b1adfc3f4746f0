"""Events that auth emits."""

from datetime import datetime
from typing import Any

from auth.models import Channel, KycSubmission, LoginSession, User
from common import clock
from common.db.session import NewEvent
from common.messaging import new_event


def user_created(user: User) -> NewEvent:
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


def user_updated(user: User, changed: list[str], **more: Any) -> NewEvent:
    """`more` are further data: `lines` when those changed."""
    return new_event(
        "user.updated",
        subject=user.id,
        data={
            "user_id": user.id,
            "changed": sorted(changed),
            "phone": user.last_phone,
            "email": user.last_email,
            "name": user.name,
            "language": user.language.value,
            **more,
        },
    )


def user_deactivated(user: User, reason: str) -> NewEvent:
    return new_event("user.deactivated", subject=user.id, data={"user_id": user.id, "reason": reason})


def session_revoked(session: LoginSession, reason: str) -> NewEvent:
    return new_event(
        "session.revoked",
        subject=session.user_id,
        data={"user_id": session.user_id, "session_id": session.id, "reason": reason},
    )


def user_verified(user: User, what: str, target: str) -> NewEvent:
    """`what` is `phone`, `email` or `line`."""
    return new_event(
        "user.verified", subject=user.id, data={"user_id": user.id, "what": what, "target": target}
    )


def user_phone_verification_requested(
    user: User, channel: Channel, target: str, code: str, expires_at: datetime
) -> NewEvent:
    return new_event(
        "user.phone.verification.requested",
        subject=user.id,
        data=_code(user, channel, target, code, expires_at),
    )


def user_email_verification_requested(
    user: User, channel: Channel, target: str, code: str, expires_at: datetime
) -> NewEvent:
    return new_event(
        "user.email.verification.requested",
        subject=user.id,
        data=_code(user, channel, target, code, expires_at),
    )


def user_password_reset_requested(
    user: User, channel: Channel, target: str, code: str, expires_at: datetime
) -> NewEvent:
    return new_event(
        "user.password.reset.requested", subject=user.id, data=_code(user, channel, target, code, expires_at)
    )


CODE_EVENTS = (
    "user.phone.verification.requested",
    "user.email.verification.requested",
    "user.password.reset.requested",
)
"""Events with a code in them: their outbox rows do not outlive their publication."""


def _code(user: User, channel: Channel, target: str, code: str, expires_at: datetime) -> dict[str, Any]:
    where = {"phone": target} if channel is Channel.SMS else {"email": target}
    return {
        "user_id": user.id,
        "code": code,
        "expires_at": clock.rfc3339(expires_at),
        "channel": channel.value,
        "name": user.name,
        "language": user.language.value,
        **where,
    }


def user_password_changed(user: User, reason: str, at: datetime) -> NewEvent:
    """`reason` is `changed` or `reset`."""
    return new_event(
        "user.password.changed",
        subject=user.id,
        data={"user_id": user.id, "reason": reason, "changed_at": clock.rfc3339(at)},
    )


def user_phone_changed(user: User, old: str, at: datetime) -> NewEvent:
    """For the owner of the old number, who may not be who changed it."""
    return new_event(
        "user.phone.changed",
        subject=user.id,
        data={
            "user_id": user.id,
            "old_phone": old,
            "phone": user.phone,
            "changed_at": clock.rfc3339(at),
        },
    )


def user_locked_out(user_id: str, until: datetime, ip: str) -> NewEvent:
    return new_event(
        "user.locked_out",
        subject=user_id,
        data={"user_id": user_id, "locked_until": clock.rfc3339(until), "ip": ip},
    )


def kyc_approved(submission: KycSubmission) -> NewEvent:
    return new_event(
        "kyc.approved",
        subject=submission.user_id,
        data={"user_id": submission.user_id, "kyc_id": submission.id},
    )


def kyc_rejected(submission: KycSubmission) -> NewEvent:
    return new_event(
        "kyc.rejected",
        subject=submission.user_id,
        data={"user_id": submission.user_id, "kyc_id": submission.id, "reason": submission.reason},
    )


def audit_compliance_alert(pattern: str, user_id: str, ip: str, details: dict[str, Any]) -> NewEvent:
    """`pattern` is `many_failed_logins`, `role_granted` or `mass_reads`; `user_id` is who it is about, or empty."""
    return new_event(
        "audit.compliance.alert",
        subject=user_id or "platform",
        data={"pattern": pattern, "user_id": user_id or None, "ip": ip, "details": details},
    )
