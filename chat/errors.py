"""Refusals of chat."""

from common.errors import AppError, Conflict


class ConversationClosed(Conflict):
    code, title = "conversation_closed", "The conversation is closed"


class ConversationTaken(Conflict):
    code, title = "conversation_taken", "Another agent has the conversation"


class NotWaiting(Conflict):
    code, title = "not_assigned", "No agent has the conversation"


class AgentAtCapacity(Conflict):
    code, title = "agent_at_capacity", "The agent has as many conversations as the capacity allows"


class AgentUnavailable(Conflict):
    code, title = "agent_unavailable", "The agent takes no conversations at the moment"


class NotClosedYet(Conflict):
    code, title = "conversation_open", "A conversation is rated when it is closed"


class AlreadyRated(Conflict):
    code, title = "already_rated", "The conversation has been rated"


class ShortcutTaken(Conflict):
    code, title = "shortcut_taken", "Another canned response has this shortcut"


class WrongTransition(Conflict):
    code, title = "wrong_transition", "The ticket cannot go to this state from where it is"


class TicketClosed(Conflict):
    code, title = "ticket_closed", "The ticket is closed"


class NotJoined(Conflict):
    code, title = "not_joined", "Join the conversation on this connection first"


class UnknownEvent(AppError):
    code, title = "unknown_event", "There is no such Socket.IO event"


ERRORS: tuple[type[AppError], ...] = (
    ConversationClosed,
    ConversationTaken,
    NotWaiting,
    AgentAtCapacity,
    AgentUnavailable,
    NotClosedYet,
    AlreadyRated,
    ShortcutTaken,
    WrongTransition,
    TicketClosed,
)
SOCKET_ERRORS: tuple[type[AppError], ...] = (*ERRORS, NotJoined, UnknownEvent)
"""What an acknowledgement can refuse with, besides the codes that all services share."""
