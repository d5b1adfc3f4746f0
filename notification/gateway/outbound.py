"""HTTP to the outside: bounded in time and size, no redirects followed, and to public addresses only where users
choose the target.

The name is resolved here and the checked address is the one that is connected to, so a name that answers differently
the second time (DNS rebinding) gains nothing; TLS still checks the certificate against the name.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore

ANSWER_LIMIT = 64 * 1024
_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""NAT64: IPv6 addresses that lead to any IPv4 address."""
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "localdomain", "home.arpa", "lan", "intranet")


class NoConnection(Exception):
    """Nothing was sent."""


class AddressNotAllowed(NoConnection):
    """The name leads to an address that customers may not have us call."""


class NoAnswer(Exception):
    """The request, or a part of it, went out; what became of it is not known."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Http:
    """POSTs over kept connections. Thread-safe. `public_only` refuses loopback, private and link-local addresses."""

    def __init__(self, *, timeout_s: float, public_only: bool, connections: int = 16) -> None:
        self._timeout_s = timeout_s
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=20.0,
            network_backend=Bounded(PublicOnly() if public_only else httpcore.SyncBackend(), self._deadline),
        )

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer, whatever its status, with at most ANSWER_LIMIT of its body. Raises NoConnection, NoAnswer."""
        deadline = time.monotonic() + 2 * self._timeout_s
        self._deadline.at = deadline + self._timeout_s
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        try:
            with self._pool.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": timeout}
            ) as response:
                return Answer(response.status, _read(response.iter_stream(), deadline))
        except AddressNotAllowed:
            raise
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise NoConnection(type(error).__name__) from None
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, UnicodeError) as error:
            raise NoConnection(type(error).__name__) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise NoAnswer(type(error).__name__) from None

    def close(self) -> None:
        self._pool.close()


def _read(chunks: Iterable[bytes], deadline: float) -> bytes:
    """The beginning of a body; one that drips or does not end is left."""
    read = b""
    for chunk in chunks:
        read += chunk
        if len(read) >= ANSWER_LIMIT or time.monotonic() > deadline:
            break
    return read[:ANSWER_LIMIT]


class Deadline(threading.local):
    """When the request of this thread must be over, whatever it does meanwhile."""

    at = 0.0

    def left(self, timeout: float | None) -> float:
        """For the next step. Raises httpcore.TimeoutException."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("took too long in all")
        return left if timeout is None else min(timeout, left)


class Bounded(httpcore.NetworkBackend):
    """Connections whose reads and writes end with the thread's deadline: a time-out that begins anew with each byte
    lets who answers a byte at a time hold a sender for hours."""

    def __init__(self, backend: httpcore.NetworkBackend, deadline: Deadline) -> None:
        self._backend, self._deadline = backend, deadline

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return BoundedStream(self._backend.connect_tcp(*args, **kwargs), self._deadline)


class BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return BoundedStream(self._stream.start_tls(*args, **kwargs), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PublicOnly(httpcore.SyncBackend):
    """Connects to the first public address of a name, and to no other."""

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(type(error).__name__) from None
        public = [str(address[0]) for *_, address in found if is_public(str(address[0]))]
        if not public:
            raise AddressNotAllowed("not a public address")
        return super().connect_tcp(public[0], port, *args, **kwargs)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also when it is wrapped in another."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _EMBEDDING):
            return False
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def refusal_of(url: str, *, public_only: bool) -> str | None:
    """Why a customer's URL cannot be taken, or None. Names are looked up only when they are called."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not url.isascii() or any(char <= " " for char in url) or "\\" in url or not host:
        return "not a URL"
    if parts.username is not None or parts.password is not None:
        return "must not hold a password"
    if parts.scheme != "https" and (public_only or parts.scheme != "http"):
        return "must begin with https://"
    if port == 0:
        return "not a URL"
    return _host_refusal(host) if public_only else None


def _host_refusal(host: str) -> str | None:
    name = host.rstrip(".").lower()
    try:
        return None if is_public(name) else "must be a public address"
    except ValueError:
        pass
    last = name.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):  # 127.1, 2130706433, 0x7f.1: addresses to a resolver
        return "must be a public address"
    if "." not in name or name.endswith(tuple(f".{suffix}" for suffix in _LOCAL_SUFFIXES)):
        return "must be a public address"
    return None
