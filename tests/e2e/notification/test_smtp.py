"""E-mail against a real SMTP server, over real sockets."""

import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common import clock, ids
from notification.gateway import Email, PermanentFailure, ProviderAway, TemporaryFailure
from notification.gateway.email import MESSAGES_PER_CONNECTION, SmtpProvider
from tests.support.mail import Mailbox, serving

PASSWORD = "a good password"


def provider(port: int, **changes: Any) -> SmtpProvider:
    options: dict[str, Any] = {
        "sender": "Sri-Care <no-reply@sri-care.example>",
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "user": None,
        "password": None,
        "ca_file": None,
        "timeout_s": 15.0,
    }
    return SmtpProvider(**(options | changes))


def an_email(**changes: Any) -> Email:
    fields = {
        "id": ids.new_id(),
        "to": "nimali@example.lk",
        "name": "නිමාලි",
        "language": "si",
        "subject": "ශ්‍රී ලංකාවේ බිල්පත",
        "text": "ක්‍රියාත්මකයි\n",
        "html": "<p>ක්‍රියාත්මකයි</p>",
    }
    return Email(**(fields | changes))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate of 127.0.0.1, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, folder / "key.pem")
    return pem, context


def test_a_message_arrives_with_its_words_in_any_script() -> None:
    mailbox, message = Mailbox(), an_email()
    with serving(mailbox) as port:
        sender = provider(port)
        reference = sender.send(message)
        sender.close()
    (got,) = mailbox.messages
    assert got["Message-ID"] == reference == f"<{message.id}@sri-care.example>"
    assert got["Subject"] == message.subject
    assert got["To"].addresses[0].display_name == message.name
    text = got.get_body(("plain",))
    assert text is not None
    assert text.get_content().strip() == "ක්‍රියාත්මකයි"
    html = got.get_body(("html",))
    assert html is not None
    assert "ක්‍රියාත්මකයි" in html.get_content()


@pytest.mark.parametrize(
    "text", ["ශ්‍රී", "a line. ", ".\n..\nFrom x\n", "=_é=20"], ids=["si", "en", "dots", "codes"]
)
def test_100_kb_arrive_unchanged_in_lines_that_every_server_takes(text: str) -> None:
    mailbox, long = Mailbox(), text * (100_000 // len(text.encode()))
    message = an_email(name=text * 20, subject=text * 30, text=long, html=f"<p>{long}</p>")
    with serving(mailbox) as port:
        sender = provider(port)
        sender.send(message)
        sender.close()
    (got,) = mailbox.messages
    assert max(map(len, got.as_bytes().splitlines())) < 998
    parts = [got.get_body((kind,)) for kind in ("plain", "html")]
    read = [part.get_content().splitlines() for part in parts if part is not None]
    assert read == [long.splitlines(), f"<p>{long}</p>".splitlines()]
    assert got["Subject"].split() == message.subject.split()
    assert [each.addr_spec for each in got["To"].addresses] == [message.to]
    assert got.defects == []


def test_one_connection_carries_many_messages_but_not_for_ever() -> None:
    mailbox = Mailbox()
    with serving(mailbox) as port:
        sender = provider(port)
        for _ in range(MESSAGES_PER_CONNECTION + 1):
            sender.send(an_email())
        sender.close()
    assert len(mailbox.messages) == MESSAGES_PER_CONNECTION + 1
    assert mailbox.connections == 2


@pytest.mark.parametrize(
    ("step", "answer", "failure", "reason"),
    [
        ("RCPT", "550 no such user", PermanentFailure, "recipient_refused"),
        ("RCPT", "451 greylisted", TemporaryFailure, "recipient_refused"),
        ("DATA", "554 looks like spam", PermanentFailure, "message_refused"),
        ("DATA", "452 no space left", TemporaryFailure, "message_refused"),
    ],
)
def test_a_refusal_concerns_that_message_alone(
    step: str, answer: str, failure: type[Exception], reason: str
) -> None:
    mailbox = Mailbox()
    with serving(mailbox) as port:
        sender = provider(port)
        mailbox.answer = {step: answer}
        with pytest.raises(failure) as refused:
            sender.send(an_email())
        assert refused.value.reason == reason  # type: ignore[attr-defined]
        assert not isinstance(refused.value, ProviderAway)
        mailbox.answer = {}
        sender.send(an_email())
        sender.close()
    assert len(mailbox.messages) == 1


def test_a_server_that_went_away_in_between_is_found_again() -> None:
    mailbox = Mailbox()
    with serving(mailbox) as port:
        sender = provider(port)
        sender.send(an_email())
    with pytest.raises(ProviderAway):
        sender.send(an_email())
    with pytest.raises(ProviderAway):
        sender.send(an_email())
    with serving(mailbox, port):
        sender.send(an_email())
        sender.close()
    assert len(mailbox.messages) == 2


def test_a_server_that_says_nothing_is_away_within_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = provider(silent.getsockname()[1], timeout_s=0.3)
        with pytest.raises(ProviderAway) as away:
            sender.send(an_email())
    assert away.value.reason == "no_connection"


def _authenticator(
    _server: SMTP, _session: Any, _envelope: Envelope, _mechanism: str, data: Any
) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data.password == PASSWORD.encode())


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not")  # it does not count TLS from the first byte
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_encrypted_and_signed_in(security: str, certificate: tuple[Path, ssl.SSLContext]) -> None:
    pem, context = certificate
    mailbox = Mailbox()
    options: dict[str, Any] = {"authenticator": _authenticator, "auth_required": True}
    options |= {"ssl_context": context} if security == "tls" else {"tls_context": context}
    options |= {"auth_require_tls": security == "starttls"}
    secure: dict[str, Any] = {"host": "localhost", "security": security, "ca_file": pem, "user": "sricare"}
    with serving(mailbox, **options) as port:
        sender = provider(port, password=PASSWORD, **secure)
        sender.send(an_email())
        sender.close()
        with pytest.raises(ProviderAway):
            provider(port, password="wrong", timeout_s=1.0, **secure).send(an_email())
        with pytest.raises(ProviderAway):  # a certificate that nobody we trust has signed
            provider(port, password=PASSWORD, timeout_s=1.0, **(secure | {"ca_file": None})).send(an_email())
    assert len(mailbox.messages) == 1


def test_a_server_without_encryption_gets_no_mail_when_encryption_is_asked_for() -> None:
    mailbox = Mailbox()
    with serving(mailbox) as port, pytest.raises(ProviderAway):
        provider(port, security="starttls").send(an_email())
    assert mailbox.messages == []
