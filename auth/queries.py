"""Reads of auth."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from auth.models import LoginSession, User
from common.db import Page, PageQuery, fetch_page
from common.errors import NotFound


def find_login(session: Session, *, phone: str | None, email: str | None) -> User | None:
    """The account that a login names."""
    named = User.phone == phone if phone is not None else User.email == email
    return session.scalar(select(User).where(named))


def get_user(session: Session, user_id: str) -> User:
    """Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound()
    return user


def list_sessions(session: Session, user_id: str, query: PageQuery) -> Page[LoginSession]:
    """Live sessions, newest first."""
    live = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    return fetch_page(session, live, LoginSession.id, query)
