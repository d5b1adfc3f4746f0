"""A real SMTP server on a loopback port that keeps what it gets."""

import email
import email.policy
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from dev.ports import free_ports


class PatientController(Controller):
    """Its start-up probe waits longer than a second on a busy machine, and speaks TLS as a client does."""

    def _trigger_server(self) -> None:
        with ExitStack() as opened:
            probe = opened.enter_context(socket.create_connection((self.hostname, self.port), 60.0))
            if self.ssl_context is not None:
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                probe = opened.enter_context(context.wrap_socket(probe))
            probe.recv(1024)


class Mailbox:
    """What the server got; `answer` is what it says to a message or a recipient instead of taking it."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.connections = 0
        self.answer: dict[str, str] = {}

    async def handle_EHLO(
        self, _server: Any, session: Any, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        if session.host_name is None:
            self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if "RCPT" in self.answer:
            return self.answer["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        if "DATA" in self.answer:
            return self.answer["DATA"]
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"


@contextmanager
def serving(mailbox: Mailbox, port: int | None = None, **options: Any) -> Iterator[int]:
    """A server that gives its mail to the mailbox; on a free port unless one is named."""
    controller = PatientController(
        mailbox, hostname="127.0.0.1", port=port or free_ports(1)[0], ready_timeout=60.0, **options
    )
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()
