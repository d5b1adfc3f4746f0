"""Socket.IO out: what the server tells the clients who joined a conversation, and all agents. Call it after the commit.

Best effort by design: a client that misses something finds out by `seq` and fetches it.
"""

from typing import Any

from flask import current_app
from flask_socketio import SocketIO
from pydantic import BaseModel

from chat.schemas.care import AgentOut, NoteOut
from chat.schemas.conversations import ConversationOut, MessageOut, PlaceOut, ReadMarkOut, SentOut
from common.identity import Identity

NAMESPACE = "/chat"
CARE_ROOM = "care"
"""Every agent's connection is in it."""


def room_of(conversation_id: str) -> str:
    return f"conversation:{conversation_id}"


def message_new(message: MessageOut) -> None:
    """To everybody in the conversation, the sender's own devices too."""
    _emit("message:new", message.conversation_id, message)


def sent(what: SentOut) -> dict[str, Any]:
    """What follows from sending a message; returns the message as JSON. A repeated one may stem from a process that
    died before it told anybody: the conversation's `last_seq` lets clients see whether they lack it, without showing
    it twice."""
    message = what.message.model_dump(mode="json")
    if what.stored_now:
        _emit("message:new", what.message.conversation_id, message)
    if what.conversation is not None:
        conversation_updated(what.conversation)
    return message


def message_read(mark: ReadMarkOut) -> None:
    _emit("message:read", mark.conversation_id, mark)


def conversation_updated(conversation: ConversationOut, *, here_only: bool = False) -> None:
    """State, agent or `last_seq` as they are now, to all agents too; `here_only`: to the clients of this process."""
    rooms = [room_of(conversation.id), CARE_ROOM]
    _emit("conversation:updated", rooms, conversation, ignore_queue=here_only)


def queue_position(place: PlaceOut) -> None:
    _emit("queue:position", place.conversation_id, place)


def agent_presence(status: AgentOut) -> None:
    """An agent began or ended taking conversations: to all agents."""
    _emit("presence", [CARE_ROOM], status)


def presence(conversation_id: str, user_id: str, *, online: bool, skip_sids: list[str]) -> None:
    """Somebody is in a conversation now or has left it: to the others in it who are connected to this process (each
    process tells its own)."""
    data = {"conversation_id": conversation_id, "user_id": user_id, "online": online}
    _emit("presence", conversation_id, data, skip_sid=skip_sids, ignore_queue=True)


def note_new(note: NoteOut) -> None:
    """To all agents; customers never see notes."""
    _emit("note:new", [CARE_ROOM], note)


def typing(conversation_id: str, who: Identity, *, active: bool, skip_sid: str) -> None:
    """To everybody else in the conversation."""
    data = {"conversation_id": conversation_id, "user_id": who.user_id, "active": active}
    _emit("typing", conversation_id, data, skip_sid=skip_sid)


def _emit(event: str, to: str | list[str], data: BaseModel | dict[str, Any], **options: Any) -> None:
    """`to`: a conversation's id, or rooms."""
    socketio: SocketIO = current_app.extensions["socketio"]
    document = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
    options["to"] = room_of(to) if isinstance(to, str) else to  # several at once reach a client in both once
    socketio.emit(event, document, namespace=NAMESPACE, **options)
