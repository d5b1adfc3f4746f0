"""Identification: numbers of identity cards, documents by what they are, review."""

import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from auth.documents import accept
from auth.errors import UnacceptableDocument
from auth.models import KycDocument
from auth.nic import parse_nic
from auth.parts import parts
from common.db import reading
from tests.support.accounts import Person, register, staff, told
from tests.support.services import emitted


def picture(kind: str, size: tuple[int, int] = (320, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(out, kind)
    return out.getvalue()


def pdf(*, script: bool = False, password: str = "") -> bytes:
    writer, out = PdfWriter(), io.BytesIO()
    writer.add_blank_page(200, 200)
    if script:
        action = {"/S": "/JavaScript", "/JS": "app.alert(1)"}
        writer.root_object[NameObject("/OpenAction")] = DictionaryObject(
            {NameObject(key): TextStringObject(value) for key, value in action.items()}
        )
    if password:
        writer.encrypt(password)
    writer.write(out)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_bomb() -> bytes:
    """Small, and 30,000 by 30,000 pixels."""
    header = (30_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
        + chunk(b"IEND", b"")
    )


def pdf_bomb() -> bytes:
    """A cross-reference stream that unpacks to 400 MB."""
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(b"\0" * 2**20) for _ in range(400)) + packer.flush()
    head = b"%PDF-1.5\n"
    body = (
        b"1 0 obj\n<< /Type /XRef /Size 2 /W [1 2 1] /Root 1 0 R /Filter /FlateDecode /Length %d >>\nstream\n"
        % len(stream)
    )
    return head + body + stream + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF" % len(head)


def submit(client: FlaskClient, me: Person, *files: tuple[str, bytes], **fields: str):
    data = {"nic": "912680444V", "full_name": "Nimali Perera", "date_of_birth": "1991-09-24"} | fields
    data["documents[]"] = [(io.BytesIO(content), name) for name, content in files]
    return client.post("/api/auth/kyc", data=data, headers=me.headers, content_type="multipart/form-data")


KINDS = ["html", "empty", "gif", "zip", "cut", "fake", "cut-png", "png-bomb", "fake-pdf", "script", "locked"]
KINDS += ["pdf-bomb"]
FRONT = ("front.jpg", picture("JPEG"))


@pytest.mark.parametrize(
    ("text", "born", "sex"),
    [
        ("912680444V", date(1991, 9, 24), "male"),
        ("912680444v", date(1991, 9, 24), "male"),
        ("199253600001", date(1992, 2, 5), "female"),
        ("915680444X", date(1991, 3, 8), "female"),
        ("200036600001", date(2000, 12, 31), "male"),
        ("199105900001", date(1991, 2, 28), "male"),
        ("199106100001", date(1991, 3, 1), "male"),  # 29 days in every February
        ("199206000001", date(1992, 2, 29), "male"),
        ("199256000001", date(1992, 2, 29), "female"),
        ("199206100001", date(1992, 3, 1), "male"),
        ("910010444V", date(1991, 1, 1), "male"),
        ("913660444V", date(1991, 12, 31), "male"),
        ("918660444V", date(1991, 12, 31), "female"),
        ("200006000001", date(2000, 2, 29), "male"),
    ],
)
def test_both_forms_of_the_number_say_birthday_and_sex(text: str, born: date, sex: str) -> None:
    nic = parse_nic(text)
    assert nic.fits(born)
    assert nic.sex == sex
    assert nic.month_and_day == (born.month, born.day)
    assert not any(nic.fits(born + timedelta(days=days)) for days in (-366, -365, -1, 1, 365, 366))


@pytest.mark.parametrize(
    "text",
    ["", "91268044V", "912680444A", "910000444V", "913670444V", "915000444V", "918670444V", "19912680044",
     "180012600044", "199100000001", "199106000001", "910600444V", "915600444V", "190006000001",
     "９１２６８０４４４V", "1991268004444", "912680444VV"],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not"):
        parse_nic(text)


def test_a_submission_is_kept_sealed_under_names_of_ours(client: FlaskClient) -> None:
    me = register(client)
    back = ("../../etc/passwd.png", picture("PNG"))
    answer = submit(client, me, FRONT, back, ("scan.pdf", pdf()))
    assert answer.status_code == 201, answer.text
    assert answer.json["state"] == "submitted"
    kinds = [document["media_type"] for document in answer.json["documents"]]
    assert kinds == ["image/jpeg", "image/png", "application/pdf"]
    assert answer.json["documents"][1]["uploaded_name"] == "passwd.png"
    folder = parts().settings.folder("kyc")
    assert {path.stem for path in folder.iterdir()} == {each["id"] for each in answer.json["documents"]}
    assert not any(FRONT[1][:20] in path.read_bytes() for path in folder.iterdir())
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert client.get("/api/auth/kyc", headers=me.headers).json["id"] == answer.json["id"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("front.jpg", b"<script>alert(1)</script>"),
        ("front.jpg", b""),
        ("front.jpg", b"GIF89a" + b"\0" * 100),
        ("front.jpg", b"PK\x03\x04" + b"\0" * 100),
        ("front.jpg", picture("JPEG")[:400]),
        ("front.jpg", b"\xff\xd8\xff\xe0" + b"no picture" * 100),
        ("front.png", picture("PNG")[:60]),
        ("front.png", png_bomb()),
        ("front.pdf", b"%PDF-1.4 and nothing"),
        ("front.pdf", pdf(script=True)),
        ("front.pdf", pdf(password="secret")),
        ("front.pdf", pdf_bomb()),
    ],
    ids=KINDS,
)  # fmt: skip
def test_what_is_no_readable_picture_or_pdf_is_refused_by_its_content(name: str, content: bytes) -> None:
    with pytest.raises(UnacceptableDocument):
        accept(name, content, "documents[]")


def test_one_bad_document_has_all_refused_and_nothing_kept(client: FlaskClient) -> None:
    me = register(client)
    answer = submit(client, me, FRONT, ("front.png", png_bomb()))
    assert (answer.status_code, answer.json["code"]) == (422, "unacceptable_document"), answer.text
    assert answer.json["errors"][0]["field"] == "documents[]"
    assert client.get("/api/auth/kyc", headers=me.headers).status_code == 404
    assert not list(parts().settings.folder("kyc").glob("*"))


def test_fields_that_do_not_fit_are_refused(client: FlaskClient) -> None:
    me = register(client)
    for fields in (
        {"date_of_birth": "1991-09-25"},
        {"nic": "12345"},
        {"date_of_birth": "2090-01-01"},
        {"full_name": ""},
        {"unknown": "1"},
        {"full_name": "a\x00b"},
    ):
        answer = submit(client, me, FRONT, **fields)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), fields


def test_no_document_too_many_and_too_large_ones_are_refused(client: FlaskClient) -> None:
    me = register(client)
    assert submit(client, me).status_code == 422
    assert submit(client, me, *[FRONT] * 6).status_code == 422
    multipart = {"content_type": "multipart/form-data; boundary=x", "headers": me.headers}
    assert client.post("/api/auth/kyc", data=b"\0" * (10 * 1024 * 1024 + 1), **multipart).status_code == 413
    assert client.post("/api/auth/kyc", json={}, headers=me.headers).status_code == 415
    large = client.patch("/api/auth/me", json={"name": "x" * 2_000_000}, headers=me.headers)
    assert large.status_code == 413, "only documents may be that large"


def test_one_submission_at_a_time_even_when_five_come_at_once(client: FlaskClient, app: Flask) -> None:
    me = register(client)
    with ThreadPoolExecutor(5) as threads:
        statuses = list(threads.map(lambda _: submit(app.test_client(), me, FRONT).status_code, range(5)))
    assert sorted(statuses) == [201] + [409] * 4
    with reading() as session:
        kept = {document.id for document in session.query(KycDocument)}
    assert {path.stem for path in parts().settings.folder("kyc").iterdir()} == kept


def test_an_admin_approves_and_the_platform_is_told(client: FlaskClient) -> None:
    me, admin = register(client), staff(client, "admin")
    made = submit(client, me, FRONT).json
    waiting = client.get("/api/auth/admin/kyc?state=submitted", headers=admin.headers).json["items"]
    assert [item["id"] for item in waiting] == [made["id"]]
    path = f"/api/auth/admin/kyc/{made['id']}"
    assert client.post(f"{path}/approve", headers=admin.headers).json["state"] == "approved"
    assert told("kyc.approved") == {"user_id": me.id, "kyc_id": made["id"]}
    assert client.post(f"{path}/approve", headers=admin.headers).status_code == 409
    assert client.post(f"{path}/reject", json={"reason": "late"}, headers=admin.headers).status_code == 409
    assert submit(client, me, FRONT).json["code"] == "kyc_pending"
    assert len(emitted("kyc.approved")) == 1


def test_a_rejected_user_learns_why_and_may_try_again(client: FlaskClient) -> None:
    me, admin = register(client), staff(client, "admin")
    made = submit(client, me, FRONT).json
    body = {"reason": "The picture is blurred"}
    client.post(f"/api/auth/admin/kyc/{made['id']}/reject", json=body, headers=admin.headers)
    assert told("kyc.rejected")["reason"] == body["reason"]
    assert client.get("/api/auth/kyc", headers=me.headers).json["reason"] == body["reason"]
    assert submit(client, me, FRONT).status_code == 201


def test_documents_are_downloads_for_admins_only(client: FlaskClient) -> None:
    me, admin, agent = register(client), staff(client, "admin"), staff(client, "agent", "0772000002")
    made = submit(client, me, FRONT).json
    document_id = made["documents"][0]["id"]
    path = f"/api/auth/admin/kyc/{made['id']}/documents/{document_id}"
    for who in (me, agent):
        assert client.get(path, headers=who.headers).status_code == 403
    answer = client.get(path, headers=admin.headers)
    assert answer.data == FRONT[1]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{document_id}.jpg"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    Path(parts().settings.folder("kyc") / f"{document_id}.sealed").unlink()
    assert client.get(path, headers=admin.headers).status_code == 404
