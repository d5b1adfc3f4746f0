"""A Socket.IO client that costs next to nothing: hundreds of them fit beside the server that they measure.

WebSocket text frames of up to 64 KiB, the namespace `/chat`, acknowledgements; nothing else of the protocol.
"""

import asyncio
import base64
import itertools
import os
import struct
from collections.abc import Callable
from typing import Any, Self

import orjson

from tests.support.chat import NAMESPACE, PATH

_MASK = b"\0\0\0\0"
"""A mask of zeros leaves the bytes as they are: masking guards proxies, and there is none here."""


class Refused(Exception):
    """The server did not let the client in."""


class Client:
    """One connection. `heard` is called with (event, payload) of what the server tells."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening: asyncio.Task[None] | None = None
        self.heard: Callable[[str, Any], None] = lambda event, payload: None

    @classmethod
    async def connect(cls, port: int, token: str) -> Self:
        """Raises Refused or OSError."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 17)
        client = cls(reader, writer)
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                f"GET {PATH}/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                raise Refused(head[:100])
            await client._receive()  # Engine.IO's own opening
            client._send(f"40{NAMESPACE},".encode() + orjson.dumps({"token": token}))
            answer = await client._receive()
            if not answer.startswith(b"40"):
                raise Refused(answer)
        except (asyncio.IncompleteReadError, Refused) as error:
            writer.close()
            raise Refused(str(error)) from None
        client._listening = asyncio.ensure_future(client._listen())
        return client

    async def call(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Emit and wait for the acknowledgement. Raises ConnectionResetError when the connection ends first."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send(f"42{NAMESPACE},{number}".encode() + orjson.dumps([event, payload]))
        found: dict[str, Any] = await answer
        return found

    async def ended(self) -> None:
        """Wait until the server ends the connection."""
        assert self._listening is not None
        await asyncio.wait([self._listening])

    def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                self._take(await self._receive())
        except (OSError, asyncio.IncompleteReadError):
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError())
            self._writer.close()

    def _take(self, packet: bytes) -> None:
        if packet == b"2":
            self._send(b"3")
        elif packet.startswith(b"43"):
            number, _, document = packet.partition(b",")[2].partition(b"[")
            answer = self._waiting.pop(int(number))
            if not answer.done():  # who asked may have given up
                answer.set_result(orjson.loads(b"[" + document)[0])
        elif packet.startswith(b"42"):
            self.heard(*orjson.loads(packet.partition(b",")[2]))

    def _send(self, packet: bytes) -> None:
        length = len(packet)
        size = struct.pack("!B", 0x80 | length) if length < 126 else struct.pack("!BH", 0xFE, length)
        self._writer.write(b"\x81" + size + _MASK + packet)

    async def _receive(self) -> bytes:
        first, second = await self._reader.readexactly(2)
        length = second
        if length == 126:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
        body = await self._reader.readexactly(length)
        if first & 0x0F == 8:
            raise ConnectionResetError
        return body
