"""Identification: submission by the user, review by an admin."""

from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from auth import events
from auth.errors import KycPending
from auth.models import KycDocument, KycState, KycSubmission
from auth.use_cases.accounts import lock_user
from auth.use_cases.audit import Client, record_act
from common.errors import NotFound


def submit_kyc(
    session: Session,
    *,
    submission_id: str,
    user_id: str,
    nic: str,
    full_name: str,
    date_of_birth: date,
    documents: list[KycDocument],
    client: Client,
) -> KycSubmission:
    """A submission that waits for review. Raises KycPending when one waits, or one was approved."""
    lock_user(session, user_id)
    refuse_second(session, user_id)
    submission = KycSubmission(
        id=submission_id,
        user_id=user_id,
        state=KycState.SUBMITTED,
        nic=nic,
        full_name=full_name,
        date_of_birth=date_of_birth,
        documents=documents,
    )
    session.add(submission)
    session.flush()
    record_act(session, "kyc.submitted", user_id=user_id, client=client, data={"kyc_id": submission_id})
    return submission


def refuse_second(session: Session, user_id: str) -> None:
    """Raises KycPending unless the user may submit."""
    open_ones = select(KycSubmission.id).where(
        KycSubmission.user_id == user_id, KycSubmission.state != KycState.REJECTED
    )
    if session.scalar(open_ones.limit(1)) is not None:
        raise KycPending()


def review_kyc(
    session: Session, *, submission_id: str, state: KycState, reviewer: Client, reason: str | None
) -> KycSubmission:
    """Decide on a submission and tell. Raises NotFound, or Conflict when it has been decided."""
    submission = session.get(KycSubmission, submission_id, with_for_update=True)
    if submission is None:
        raise NotFound()
    assert reviewer.actor_id is not None
    submission.review(state, reviewer.actor_id, reason)
    approved = state is KycState.APPROVED
    session.add(events.kyc_approved(submission) if approved else events.kyc_rejected(submission))
    data = {"kyc_id": submission.id, "state": state.value}
    record_act(session, "kyc.reviewed", user_id=submission.user_id, client=reviewer, data=data)
    return submission
