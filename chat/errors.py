"""Refusals of chat."""

from common.errors import AppError, Conflict


class ConversationClosed(Conflict):
    code, title = "conversation_closed", "The conversation is closed"


class NotJoined(Conflict):
    code, title = "not_joined", "Join the conversation on this connection first"


class UnknownEvent(AppError):
    code, title = "unknown_event", "There is no such Socket.IO event"


ERRORS: tuple[type[AppError], ...] = (ConversationClosed,)
SOCKET_ERRORS: tuple[type[AppError], ...] = (*ERRORS, NotJoined, UnknownEvent)
"""What an acknowledgement can refuse with, besides the codes that all services share."""
