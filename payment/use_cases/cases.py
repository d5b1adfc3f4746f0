"""Cases for a person: opened by what went wrong, resolved by a member of staff."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from payment.models import Case, CaseKind, CaseState


def open_case(session: Session, kind: CaseKind, *, payment_id: str, subject_id: str, detail: str) -> None:
    """One case per kind and subject; one that was resolved is open again."""
    found = session.scalar(
        select(Case).where(Case.subject_id == subject_id, Case.kind == kind).with_for_update()
    )
    if found is not None:
        found.reopen(detail)
        return
    session.add(
        Case(
            kind=kind,
            payment_id=payment_id,
            subject_id=subject_id,
            detail=detail[:200],
            state=CaseState.OPEN,
        )
    )


def resolve_case(session: Session, *, case_id: str, by: str, note: str) -> Case:
    """Raises NotFound, CaseResolved."""
    case = session.get(Case, case_id, with_for_update=True)
    if case is None:
        raise NotFound()
    case.resolve(by=by, note=note)
    return case
