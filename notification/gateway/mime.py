"""An e-mail as bytes: headers, plain text and HTML.

Written by hand because `email.message` parses and folds every header again, which took more of a sender's time than all
the rest of a message; what is hard about headers (encoded words, their folding) is still the standard library's.
"""

import base64
import binascii
import re
from email.header import Header
from email.utils import format_datetime, parseaddr, quote
from functools import lru_cache

from common import clock
from notification.gateway.base import Email, PermanentFailure, one_line

_ADDRESS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(\.[\w-]+)*", re.ASCII)
_LINE = 76


def sender_domain(sender: str) -> str:
    """The domain of `Name <address>`. Raises ValueError when there is none."""
    _, address = parseaddr(sender)
    local, _, domain = address.partition("@")
    if not local or "." not in domain or not (sender.isprintable() and sender.isascii()):
        raise ValueError("must be like Sri-Care <no-reply@example.lk>")
    return domain


def message_id(email: Email, sender: str) -> str:
    """The same each time that a message is sent."""
    return f"<{email.id}@{_sender(sender)[1]}>"


def address_of(email: Email) -> str:
    """The recipient's address as SMTP takes it. Raises PermanentFailure."""
    local, at, domain = email.to.partition("@")
    if not local.isascii():
        raise PermanentFailure("address_not_supported")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            raise PermanentFailure("address_not_valid") from None
    address = f"{local}{at}{domain}"
    if not _ADDRESS.fullmatch(address):
        raise PermanentFailure("address_not_valid")
    return address


def compose(email: Email, sender: str) -> bytes:
    """The whole message with CRLF lines. Raises PermanentFailure for what no e-mail can carry."""
    boundary = f"=_{email.id}"  # `=_` stands in no encoded part
    headers = [
        f"From: {_sender(sender)[0]}",
        f"To: {_mailbox(email.name, address_of(email), 'To')}",
        f"Subject: {_text(email.subject, 'Subject')}",
        f"Date: {format_datetime(clock.now())}",
        f"Message-ID: {message_id(email, sender)}",
        "Auto-Submitted: auto-generated",
        f"Content-Language: {email.language}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
    ]
    if email.unsubscribe_url is not None:  # never folded: no mail program takes encoded words for a link
        headers += [
            f"List-Unsubscribe: <{one_line(email.unsubscribe_url)}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ]
    try:
        parts = [_part("plain", email.text), _part("html", email.html)]
        head = "\r\n".join(headers).encode("ascii")
    except UnicodeError:
        raise PermanentFailure("not_encodable") from None
    limit = f"\r\n--{boundary}".encode()
    return head + b"\r\n" + b"".join(limit + b"\r\n" + part for part in parts) + limit + b"--\r\n"


@lru_cache(maxsize=10)
def _sender(sender: str) -> tuple[str, str]:
    """The header's value, and the domain."""
    name, address = parseaddr(sender)
    return _mailbox(name, address, "From"), sender_domain(sender)


def _mailbox(name: str, address: str, header: str) -> str:
    name = one_line(name)
    if not name:
        return address
    return f'"{quote(name)}" <{address}>' if name.isascii() else f"{_text(name, header)} <{address}>"


def _text(text: str, header: str) -> str:
    """Words of a header, in ASCII and folded."""
    line = one_line(text)
    if line.isascii() and len(line) < _LINE - len(header) and "=?" not in line:
        return line
    try:
        return Header(line, "utf-8", maxlinelen=_LINE, header_name=header).encode(linesep="\r\n")
    except UnicodeError:
        raise PermanentFailure("not_encodable") from None


def _part(kind: str, text: str) -> bytes:
    """In the shorter encoding, as Sinhala and Tamil take nine characters a letter in the readable one."""
    content = "\n".join(text.splitlines()).encode() + b"\n"
    if len(content) < 1.2 * len(text) + 10:
        encoding, body = "quoted-printable", binascii.b2a_qp(content)
    else:
        encoding, body = "base64", base64.encodebytes(content.replace(b"\n", b"\r\n"))
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode() + body.replace(b"\n", b"\r\n")
