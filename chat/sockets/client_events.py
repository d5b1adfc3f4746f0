"""What clients may send: each event's payload, and what it does. Who may send at all is decided in `gate`."""

from collections.abc import Callable
from typing import Any

from flask import current_app
from flask_socketio import join_room

from chat import broadcast
from chat.broadcast import NAMESPACE, room_of
from chat.config import Settings
from chat.queries import care as care_queries
from chat.queries import conversations as queries
from chat.schemas.care import AgentOut, StatusIn
from chat.schemas.conversations import (
    ConversationOut,
    JoinIn,
    MessageOut,
    ReadIn,
    ReadMarkOut,
    RefreshIn,
    SendIn,
    SentOut,
    TypingIn,
)
from chat.sockets.connections import Connection
from chat.sockets.presence import Presence
from chat.sockets.together import Together
from chat.use_cases import care
from chat.use_cases import conversations as use_cases
from chat.use_cases.messages import Wish, send_message
from common.db import reading, transaction
from common.errors import Forbidden, ServiceUnavailable, Unauthorized
from common.identity import InvalidToken
from common.identity.keys import KeysUnavailable
from common.identity.requests import guard
from common.schemas import Body

MISSED_IN_ACK = 500


def join(connection: Connection, wish: JoinIn) -> dict[str, Any]:
    """Enter the room first, then read: nothing falls between what the answer holds and what is told from now on."""
    with reading() as session:
        queries.get_conversation(session, connection.identity, wish.conversation_id)
    join_room(room_of(wish.conversation_id), connection.sid, NAMESPACE)
    connection.joined.add(wish.conversation_id)
    presence: Presence = current_app.extensions["chat_presence"]
    with reading() as session:
        conversation = queries.get_conversation(session, connection.identity, wish.conversation_id)
        found, more = queries.messages_after(session, conversation.id, wish.after_seq, MISSED_IN_ACK)
        return {
            "conversation": ConversationOut.of(
                conversation, care_queries.place_of(session, conversation)
            ).model_dump(mode="json"),
            "messages": [MessageOut.of(message).model_dump(mode="json") for message in found],
            "has_more": more,
            "read": [
                ReadMarkOut.of(mark).model_dump(mode="json")
                for mark in queries.read_marks(session, conversation.id)
            ],
            "online": presence.arrive(session, conversation.id, connection),
        }


def send(connection: Connection, wish: SendIn) -> dict[str, Any]:
    connection.must_have_joined(wish.conversation_id)
    meant = Wish(connection.identity, wish.conversation_id, wish.client_message_id, wish.body)
    if connection.is_care:
        with transaction() as session:
            sent = SentOut.of(*send_message(session, _settings(), meant))
    else:
        together: Together = current_app.extensions["chat_together"]
        sent = together.send(meant)
    return {"message": broadcast.sent(sent)}


def read(connection: Connection, wish: ReadIn) -> dict[str, Any]:
    connection.must_have_joined(wish.conversation_id)
    with transaction() as session:
        found, moved = use_cases.mark_read(
            session, connection.identity, conversation_id=wish.conversation_id, seq=wish.seq
        )
        mark = ReadMarkOut.of(found)
    if moved:
        broadcast.message_read(mark)
    return {"seq": mark.seq}


def typing(connection: Connection, wish: TypingIn) -> dict[str, Any]:
    connection.must_have_joined(wish.conversation_id)
    broadcast.typing(wish.conversation_id, connection.identity, active=wish.active, skip_sid=connection.sid)
    return {}


def agent_status(connection: Connection, wish: StatusIn) -> dict[str, Any]:
    if not connection.is_care:
        raise Forbidden()
    with transaction() as session:
        agent = care.set_status(
            session,
            _settings(),
            agent_id=connection.identity.user_id,
            available=wish.available,
            capacity=wish.capacity,
            team=wish.team,
        )
        status = AgentOut.of(agent, care_queries.load_of(session, agent.id))
    broadcast.agent_presence(status)
    return {"agent": status.model_dump(mode="json")}


def refresh(connection: Connection, wish: RefreshIn) -> dict[str, Any]:
    """Go on with a fresh token of the same user, without a new connection."""
    try:
        found = guard().admit(wish.token)
    except InvalidToken:
        raise Unauthorized("The access token is not valid") from None
    except KeysUnavailable:
        raise ServiceUnavailable("Tokens cannot be verified right now") from None
    if found.user_id != connection.identity.user_id or not found.roles >= (
        connection.identity.roles & queries.CARE_ROLES
    ):
        raise Forbidden("The token is another user's; connect anew with it")
    connection.token, connection.identity = wish.token, found
    return {"expires_at": found.expires_at}


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


HANDLERS: dict[str, tuple[type[Body], Callable[[Connection, Any], dict[str, Any]]]] = {
    "conversation:join": (JoinIn, join),
    "message:send": (SendIn, send),
    "message:read": (ReadIn, read),
    "typing": (TypingIn, typing),
    "agent:status": (StatusIn, agent_status),
    "auth:refresh": (RefreshIn, refresh),
}
