"""What belongs to the request or the event at hand, for logs, problems and events made on its way."""

from contextvars import ContextVar

from common import ids

request_id: ContextVar[str] = ContextVar("request_id", default="")
event_id: ContextVar[str] = ContextVar("event_id", default="")
actor_id: ContextVar[str] = ContextVar("actor_id", default="")
"""The member of staff who acts for the user, so that what they cause names both."""


def correlation_id() -> str:
    """The id that ties together all that one request or event causes."""
    return request_id.get() or ids.new_id()
