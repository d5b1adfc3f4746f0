"""What agents and admins do."""

from flask import Response

from auth import queries
from auth.errors import OwnAccount, PhoneAlreadyRegistered, TooManyAttempts
from auth.limits import Limit
from auth.models import KycState
from auth.parts import parts
from auth.routes.base import access_token, routes, staff
from auth.schemas.accounts import UserOut
from auth.schemas.administration import (
    ActingOut,
    AuditEntryOut,
    AuditQuery,
    UserChangeIn,
    UserQuery,
    VerdictOut,
    VerifyQuery,
)
from auth.schemas.fields import to_e164
from auth.schemas.kyc import KycOut, KycQuery, RejectIn
from auth.use_cases import administration, audit, kyc
from common.db import reading, transaction
from common.errors import Conflict, NotFound
from common.identity import identity
from common.web import operation, reply, reply_page

STAFF = ("agent", "admin")
ADMIN = ("admin",)
_READS_FORGOTTEN_S = 600
_NEVER = 10**9


@routes.get("/admin/users")
@operation("Find accounts", query=UserQuery, returns={200: UserOut}, roles=STAFF, page=True)
def list_users(query: UserQuery) -> Response:
    with reading() as session:
        page = queries.search_users(session, query.query, _phone(query.query), query)
    reads = _reads(len(page.items))
    with transaction() as session:
        administration.note_search(session, query.query, staff=staff(), reads=reads)
    return reply_page(page, UserOut)


def _reads(now: int) -> administration.Reads:
    """Count customers that the caller is shown."""
    limit = Limit("staff-reads", free=_NEVER, forget_s=_READS_FORGOTTEN_S, weight=now)
    (of_late,) = parts().limiter.admit(limit.claim(identity().user_id))
    return administration.Reads(of_late, now, parts().settings.agent_reads)


def _phone(text: str | None) -> str | None:
    try:
        return to_e164(text) if text else None
    except ValueError:
        return None


@routes.get("/admin/users/<id:user_id>")
@operation("One account", returns={200: UserOut}, roles=STAFF, raises=(NotFound,))
def get_user(user_id: str) -> Response:
    """Each look is kept in the audit trail; very many in a short time raise an alert."""
    reads = _reads(1)
    with transaction() as session:
        user = queries.get_user(session, user_id)
        administration.note_read(session, user, staff=staff(), reads=reads)
        return reply(UserOut.of(user))


@routes.patch("/admin/users/<id:user_id>")
@operation(
    "Change roles or activity, release a closed account's number",
    body=UserChangeIn,
    returns={200: UserOut},
    roles=ADMIN,
    raises=(NotFound, OwnAccount, PhoneAlreadyRegistered, Conflict),
)
def patch_user(user_id: str, body: UserChangeIn) -> Response:
    """With new roles all sessions of the user end."""
    with transaction() as session:
        user = administration.change_user(
            session,
            user_id=user_id,
            roles=body.roles,
            active=body.active,
            release_number=body.release_number,
            admin=staff(),
        )
        return reply(UserOut.of(user))


@routes.post("/admin/users/<id:user_id>/act")
@operation(
    "Act for a customer",
    returns={200: ActingOut},
    roles=STAFF,
    raises=(NotFound, Conflict, TooManyAttempts),
)
def post_act(user_id: str) -> Response:
    """An access token of the customer that names the agent (`act`) and dies with the agent's session. What it causes
    names both in the audit trail; it cannot change how the customer signs in."""
    who, reads = identity(), _reads(1)
    with transaction() as session:
        user = administration.act_for(session, user_id=user_id, agent=staff(), reads=reads)
        token = access_token(user.id, user.roles, who.session_id, act=who.user_id)
        return reply(
            ActingOut(access_token=token, expires_in=parts().settings.access_token_s, user=UserOut.of(user))
        )


@routes.get("/admin/kyc")
@operation("List submissions", query=KycQuery, returns={200: KycOut}, roles=ADMIN, page=True)
def list_kyc(query: KycQuery) -> Response:
    with reading() as session:
        return reply_page(queries.list_kyc(session, query.state, query), KycOut)


@routes.get("/admin/kyc/<id:submission_id>/documents/<id:document_id>")
@operation(
    "Download a document",
    returns={200: None},
    roles=ADMIN,
    raises=(NotFound,),
    content_type="application/octet-stream",
)
def get_kyc_document(submission_id: str, document_id: str) -> Response:
    """Always as an attachment under a name of ours, never shown in the browser's page."""
    with transaction() as session:
        document = queries.get_document(session, submission_id, document_id)
        data = {"kyc_id": submission_id, "document_id": document_id}
        audit.record_act(session, "kyc.document.read", user_id="", client=staff(), data=data)
    try:
        content = parts().documents.get(document_id)
    except FileNotFoundError:
        raise NotFound() from None
    suffix = {"image/jpeg": "jpg", "image/png": "png", "application/pdf": "pdf"}[document.media_type]
    headers = {
        "Content-Disposition": f'attachment; filename="{document_id}.{suffix}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return reply(content, content_type="application/octet-stream", headers=headers)


@routes.post("/admin/kyc/<id:submission_id>/approve")
@operation("Approve a submission", returns={200: KycOut}, roles=ADMIN, raises=(NotFound, Conflict))
def post_kyc_approve(submission_id: str) -> Response:
    with transaction() as session:
        found = kyc.review_kyc(
            session, submission_id=submission_id, state=KycState.APPROVED, reviewer=staff(), reason=None
        )
        return reply(KycOut.of(found))


@routes.post("/admin/kyc/<id:submission_id>/reject")
@operation(
    "Reject a submission", body=RejectIn, returns={200: KycOut}, roles=ADMIN, raises=(NotFound, Conflict)
)
def post_kyc_reject(submission_id: str, body: RejectIn) -> Response:
    with transaction() as session:
        found = kyc.review_kyc(
            session,
            submission_id=submission_id,
            state=KycState.REJECTED,
            reviewer=staff(),
            reason=body.reason,
        )
        return reply(KycOut.of(found))


@routes.get("/admin/audit-log")
@operation("Read the audit trail", query=AuditQuery, returns={200: AuditEntryOut}, roles=ADMIN, page=True)
def list_audit(query: AuditQuery) -> Response:
    """`action` may end in `*`."""
    with reading() as session:
        page = queries.list_audit(
            session,
            query,
            user_id=query.user_id,
            action=query.action,
            since=query.since,
            until=query.until,
        )
        return reply_page(page, AuditEntryOut)


@routes.get("/admin/audit-log/verify")
@operation("Check the audit trail's chain", query=VerifyQuery, returns={200: VerdictOut}, roles=ADMIN)
def get_audit_verify(query: VerifyQuery) -> Response:
    """A stretch of it at a time: where `next_seq` is a number, go on there. The command `audit-verify` reads all."""
    verdict = audit.verify_chain(from_seq=query.from_seq, most=query.limit)
    return reply(
        VerdictOut(
            valid=verdict.broken_at is None,
            entries=verdict.entries,
            first_seq=verdict.first_seq,
            last_seq=verdict.last_seq,
            last_hash=verdict.last_hash,
            broken_at=verdict.broken_at,
            reason=verdict.reason,
            next_seq=verdict.next_seq,
        )
    )
