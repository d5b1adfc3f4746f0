"""Identification, the customer's side."""

from flask import Response, request

from auth import queries
from auth.documents import MAX_DOCUMENTS, MAX_UPLOAD, accept
from auth.errors import KycPending, NotWhileActing, UnacceptableDocument
from auth.models import KycDocument
from auth.parts import parts
from auth.routes.base import client, own, routes
from auth.schemas.kyc import KycIn, KycOut
from auth.use_cases import kyc
from common import ids
from common.db import reading, transaction
from common.errors import ValidationFailed
from common.identity import identity
from common.web import operation, reply, work_id


@routes.post("/kyc")
@operation(
    "Submit documents for identification",
    form=KycIn,
    files="documents[]",
    max_body=MAX_UPLOAD,
    returns={201: KycOut},
    raises=(KycPending, UnacceptableDocument, NotWhileActing),
)
def post_kyc(form: KycIn) -> Response:
    """JPEG, PNG or PDF, up to five files; what they are is found out by their content."""
    user_id, submission_id, store = own().user_id, work_id(), parts().documents
    files = request.files.getlist("documents[]") + request.files.getlist("documents")
    if not 1 <= len(files) <= MAX_DOCUMENTS:
        message = f"give 1 to {MAX_DOCUMENTS} files"
        raise ValidationFailed(message, errors=[{"field": "documents[]", "message": message}])
    with reading() as session:
        kyc.refuse_second(session, user_id)
    uploads = [accept(file.filename or "", file.read(), "documents[]") for file in files]
    documents = [
        KycDocument(
            id=ids.new_id(),
            media_type=upload.media_type,
            size=len(upload.content),
            sha256=upload.sha256,
            uploaded_name=upload.name,
        )
        for upload in uploads
    ]
    for document, upload in zip(documents, uploads, strict=True):
        store.put(document.id, upload.content)
    try:
        with transaction() as session:
            submission = kyc.submit_kyc(
                session,
                submission_id=submission_id,
                user_id=user_id,
                nic=form.nic,
                full_name=form.full_name,
                date_of_birth=form.date_of_birth,
                documents=documents,
                client=client(),
            )
            return reply(KycOut.of(submission), 201)
    except BaseException:
        for document in documents:
            store.remove(document.id)
        raise


@routes.get("/kyc")
@operation("The latest submission", returns={200: KycOut})
def get_kyc() -> Response:
    with reading() as session:
        return reply(KycOut.of(queries.latest_kyc(session, identity().user_id)))
