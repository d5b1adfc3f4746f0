"""Socket.IO in: parse, check, call one use case, acknowledge. What lives in memory here can be lost at any moment."""

from chat.sockets.gate import Sockets

__all__ = ["Sockets"]
