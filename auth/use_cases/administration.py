"""What staff do: roles, (de)activation, reading customers, acting for one. Every act is audited."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from auth import events
from auth.errors import OwnAccount
from auth.models import Role, User
from auth.use_cases.accounts import deactivate_user, lock_user, reactivate_user, release_contacts
from auth.use_cases.audit import Client, raise_alert, record_act
from auth.use_cases.sessions import end_all_sessions
from common.errors import Conflict, NotFound


def change_user(
    session: Session,
    *,
    user_id: str,
    roles: list[Role] | None,
    active: bool | None,
    release_number: bool,
    admin: Client,
) -> User:
    """Set roles and activity, and let a closed account's number go. Tokens with the old roles are refused everywhere.

    Raises NotFound, OwnAccount, PhoneAlreadyRegistered, and Conflict for the number of an open account.
    """
    if user_id == admin.actor_id and (active is False or (roles is not None and Role.ADMIN not in roles)):
        raise OwnAccount()
    user = lock_user(session, user_id)
    before, was_active = list(user.roles), user.active
    changed = []
    if active is False:
        deactivate_user(session, user_id=user_id, reason="deactivated_by_admin")
    elif active and not user.active:
        reactivate_user(session, user)
        changed.append("active")
    if release_number:
        release_contacts(session, user)
    if roles is not None and sorted(role.value for role in roles) != sorted(user.roles):
        user.roles = [role.value for role in roles]
        changed.append("roles")
        end_all_sessions(session, user_id=user_id, reason="roles_changed")
    if changed:
        session.add(events.user_updated(user, changed, roles=user.roles))
    granted = sorted(set(user.roles) - set(before) - {Role.CUSTOMER.value})
    if granted:
        raise_alert(
            session,
            "role_granted",
            user_id=user_id,
            client=admin,
            data={"roles": granted, "by": admin.actor_id},
        )
    data = {
        "roles": {"before": before, "after": user.roles},
        "active": {"before": was_active, "after": user.active},
        "number_released": release_number,
    }
    record_act(session, "admin.user.changed", user_id=user_id, client=admin, data=data)
    return user


@dataclass(frozen=True)
class Reads:
    """How many customers a member of staff has looked up of late: `now` by this request. `alert_at` is very many."""

    of_late: int
    now: int
    alert_at: int

    def watch(self, session: Session, staff: Client) -> None:
        """Have somebody look, once, when they become very many."""
        if self.of_late - self.now < self.alert_at <= self.of_late:
            assert staff.actor_id is not None
            data = {"reads": self.of_late}
            raise_alert(session, "mass_reads", user_id=staff.actor_id, client=staff, data=data)


def note_read(session: Session, user: User, *, staff: Client, reads: Reads) -> None:
    """Keep that a member of staff looked a customer up."""
    reads.watch(session, staff)
    record_act(session, "admin.user.read", user_id=user.id, client=staff)


def note_search(session: Session, query: str | None, *, staff: Client, reads: Reads) -> None:
    """Keep that a member of staff searched for customers."""
    reads.watch(session, staff)
    data = {"query": query, "found": reads.now}
    record_act(session, "admin.users.searched", user_id="", client=staff, data=data)


def act_for(session: Session, *, user_id: str, agent: Client, reads: Reads) -> User:
    """The customer whom an agent may act for now. Raises NotFound (also for staff), Conflict for a closed account."""
    user = session.get(User, user_id)
    if user is None or set(user.roles) != {Role.CUSTOMER.value}:
        raise NotFound()
    if not user.active:
        raise Conflict("The account is closed")
    reads.watch(session, agent)
    record_act(session, "admin.acting.started", user_id=user_id, client=agent)
    return user
