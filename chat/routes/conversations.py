"""Conversations, messages, ratings."""

from flask import Response

from chat import broadcast
from chat.errors import AgentAtCapacity, AlreadyRated, ConversationClosed, NotClosedYet
from chat.queries import care, conversations
from chat.routes.blueprint import routes, settings
from chat.schemas.conversations import (
    ConversationIn,
    ConversationOut,
    ConversationsQuery,
    MessageIn,
    MessageOut,
    MessagesOut,
    MessagesQuery,
    RatingIn,
    SentOut,
)
from chat.use_cases import conversations as use_cases
from chat.use_cases.messages import Wish, send_message
from common.db import reading, transaction
from common.errors import NotFound, TooManyRequests
from common.identity import identity
from common.web import operation, reply, reply_page, work_id


@routes.post("/conversations")
@operation(
    "Open a conversation with customer care",
    body=ConversationIn,
    returns={201: ConversationOut},
    roles=("customer",),
)
def post_conversation(body: ConversationIn) -> Response:
    with transaction() as session:
        opened = use_cases.open_conversation(
            session,
            settings(),
            conversation_id=work_id(),
            customer_id=identity().user_id,
            subject=body.subject,
        )
        conversation = ConversationOut.of(opened, care.place_of(session, opened))
        answer = reply(conversation, 201)
    broadcast.conversation_updated(conversation)
    return answer


@routes.get("/conversations")
@operation(
    "List the own conversations; agents: all",
    query=ConversationsQuery,
    returns={200: ConversationOut},
    page=True,
)
def list_conversations(query: ConversationsQuery) -> Response:
    with reading() as session:
        page = conversations.list_conversations(
            session, identity(), query, state=query.state, agent_id=query.agent_id
        )
        return reply_page(page, ConversationOut)


@routes.get("/conversations/<id:conversation_id>")
@operation("One conversation", returns={200: ConversationOut}, raises=(NotFound,))
def get_conversation(conversation_id: str) -> Response:
    with reading() as session:
        found = conversations.get_conversation(session, identity(), conversation_id)
        return reply(ConversationOut.of(found, care.place_of(session, found)))


@routes.get("/conversations/<id:conversation_id>/messages")
@operation(
    "Messages behind a sequence number, in their order",
    query=MessagesQuery,
    returns={200: MessagesOut},
    raises=(NotFound,),
)
def list_messages(conversation_id: str, query: MessagesQuery) -> Response:
    with reading() as session:
        conversations.get_conversation(session, identity(), conversation_id)
        found, more = conversations.messages_after(session, conversation_id, query.after_seq, query.limit)
        items = [MessageOut.of(message) for message in found]
    return reply(MessagesOut(items=items, next_cursor=str(items[-1].seq) if more else None))


@routes.post("/conversations/<id:conversation_id>/messages")
@operation(
    "Send a message",
    body=MessageIn,
    returns={201: MessageOut, 200: MessageOut},
    raises=(NotFound, ConversationClosed, AgentAtCapacity),
)
def post_message(conversation_id: str, body: MessageIn) -> Response:
    """201 for a new message; 200 with the stored one when this `client_message_id` was sent before."""
    with transaction() as session:
        wish = Wish(identity(), conversation_id, body.client_message_id, body.body)
        sent = SentOut.of(*send_message(session, settings(), wish))
        answer = reply(sent.message, 201 if sent.stored_now else 200)
    broadcast.sent(sent)
    return answer


@routes.post("/conversations/<id:conversation_id>/close")
@operation("Close a conversation", returns={200: ConversationOut}, raises=(NotFound,))
def post_close(conversation_id: str) -> Response:
    """Safe to repeat; what was said stays readable."""
    with transaction() as session:
        closed, closed_now = use_cases.close_conversation(
            session, identity(), conversation_id=conversation_id
        )
        conversation = ConversationOut.of(closed)
        answer = reply(conversation)
    if closed_now:
        broadcast.conversation_updated(conversation)
    return answer


@routes.post("/conversations/<id:conversation_id>/transcript")
@operation(
    "E-mail the customer what was said",
    returns={202: ConversationOut},
    raises=(NotFound, TooManyRequests),
)
def post_transcript(conversation_id: str) -> Response:
    """At most once a minute. Goes to the customer's own address, who may be without one; of a very long conversation
    the end."""
    with transaction() as session:
        found = use_cases.request_transcript(session, identity(), conversation_id=conversation_id)
        return reply(ConversationOut.of(found), 202)


@routes.post("/conversations/<id:conversation_id>/rating")
@operation(
    "Rate a closed conversation",
    body=RatingIn,
    returns={200: ConversationOut},
    roles=("customer",),
    raises=(NotFound, NotClosedYet, AlreadyRated),
)
def post_rating(conversation_id: str, body: RatingIn) -> Response:
    """Once; the same again is answered alike."""
    with transaction() as session:
        rated = use_cases.rate_conversation(
            session, identity(), conversation_id=conversation_id, score=body.score, comment=body.comment
        )
        conversation = ConversationOut.of(rated)
        answer = reply(conversation)
    broadcast.conversation_updated(conversation)
    return answer
