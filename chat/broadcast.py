"""Socket.IO out: what the server tells the clients who joined a conversation. Call it after the commit.

Best effort by design: a client that misses something finds out by `seq` and fetches it.
"""

from typing import Any

from flask import current_app
from flask_socketio import SocketIO
from pydantic import BaseModel

from chat.schemas import ConversationOut, MessageOut, ReadMarkOut
from common.identity import Identity

NAMESPACE = "/chat"


def room_of(conversation_id: str) -> str:
    return f"conversation:{conversation_id}"


def message_new(message: MessageOut) -> None:
    """To everybody in the conversation, the sender's own devices too."""
    _emit("message:new", message.conversation_id, message)


def sent(message: MessageOut, conversation: ConversationOut, *, stored_now: bool, taken: bool) -> None:
    """What follows from sending a message. A repeated one may stem from a process that died before it told
    anybody: the conversation's `last_seq` lets clients see whether they lack it, without showing it twice."""
    if stored_now:
        message_new(message)
    if taken or not stored_now:
        conversation_updated(conversation)


def message_read(mark: ReadMarkOut) -> None:
    _emit("message:read", mark.conversation_id, mark)


def conversation_updated(conversation: ConversationOut, *, here_only: bool = False) -> None:
    """State, agent or `last_seq` as they are now; `here_only`: to the clients of this process."""
    _emit("conversation:updated", conversation.id, conversation, ignore_queue=here_only)


def typing(conversation_id: str, who: Identity, *, active: bool, skip_sid: str) -> None:
    """To everybody else in the conversation."""
    data = {"conversation_id": conversation_id, "user_id": who.user_id, "active": active}
    _emit("typing", conversation_id, data, skip_sid=skip_sid)


def _emit(event: str, conversation_id: str, data: BaseModel | dict[str, Any], **options: Any) -> None:
    socketio: SocketIO = current_app.extensions["socketio"]
    document = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
    socketio.emit(event, document, namespace=NAMESPACE, to=room_of(conversation_id), **options)
