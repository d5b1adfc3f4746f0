"""Customer care at work: queue, presence, transfers, notes, canned responses, the customer's card."""

from flask import Response

from chat import broadcast
from chat.errors import (
    AgentAtCapacity,
    AgentUnavailable,
    ConversationClosed,
    ConversationTaken,
    NotWaiting,
    ShortcutTaken,
)
from chat.queries import accounts, care, conversations
from chat.routes.blueprint import routes, settings
from chat.schemas.care import (
    AgentOut,
    CannedResponseIn,
    CannedResponseOut,
    CustomerOut,
    NoteIn,
    NoteOut,
    QueueOut,
    StatusIn,
    TransferIn,
)
from chat.schemas.conversations import ConversationOut
from chat.use_cases import care as use_cases
from common import clock
from common.db import PageQuery, reading, transaction
from common.errors import NotFound
from common.identity import identity
from common.web import operation, reply, reply_page, work_id

CARE = ("agent", "admin")


@routes.get("/agent/queue")
@operation("Who waits for a person, and who works", returns={200: QueueOut}, roles=CARE)
def get_queue() -> Response:
    """The oldest first; at most 200."""
    with reading() as session:
        items = [ConversationOut.of(found, None) for found in care.queue(session)]
        agents = [AgentOut.of(agent, load) for agent, load in care.agents_with_load(session)]
    return reply(QueueOut(items=items, agents=agents, open_now=settings().hours.is_open(clock.now())))


@routes.post("/agent/status")
@operation("Begin or end taking conversations", body=StatusIn, returns={200: AgentOut}, roles=CARE)
def post_status(body: StatusIn) -> Response:
    """Who is not seen on a socket takes no more after a while (`CHAT_AGENT_GONE_AFTER_S`)."""
    with transaction() as session:
        agent = use_cases.set_status(
            session,
            settings(),
            agent_id=identity().user_id,
            available=body.available,
            capacity=body.capacity,
            team=body.team,
        )
        status = AgentOut.of(agent, care.load_of(session, agent.id))
        answer = reply(status)
    broadcast.agent_presence(status)
    return answer


@routes.post("/conversations/<id:conversation_id>/accept")
@operation(
    "Take a waiting conversation",
    returns={200: ConversationOut},
    roles=CARE,
    raises=(NotFound, ConversationClosed, ConversationTaken, AgentAtCapacity),
)
def post_accept(conversation_id: str) -> Response:
    """Safe to repeat."""
    with transaction() as session:
        found, taken_now = use_cases.accept_conversation(
            session, identity(), settings(), conversation_id=conversation_id
        )
        conversation = ConversationOut.of(found)
        answer = reply(conversation)
    if taken_now:
        broadcast.conversation_updated(conversation)
    return answer


@routes.post("/conversations/<id:conversation_id>/transfer")
@operation(
    "Give a conversation to another agent or team",
    body=TransferIn,
    returns={200: ConversationOut},
    roles=CARE,
    raises=(NotFound, ConversationClosed, NotWaiting, AgentUnavailable, AgentAtCapacity),
)
def post_transfer(conversation_id: str, body: TransferIn) -> Response:
    with transaction() as session:
        found = use_cases.transfer_conversation(
            session,
            identity(),
            settings(),
            conversation_id=conversation_id,
            agent_id=body.agent_id,
            team=body.team,
            note=body.note,
        )
        conversation = ConversationOut.of(found)
        answer = reply(conversation)
    broadcast.conversation_updated(conversation)
    return answer


@routes.post("/conversations/<id:conversation_id>/notes")
@operation(
    "Note something that the customer does not see",
    body=NoteIn,
    returns={201: NoteOut},
    roles=CARE,
    raises=(NotFound,),
)
def post_note(conversation_id: str, body: NoteIn) -> Response:
    with transaction() as session:
        note = NoteOut.of(
            use_cases.add_note(session, identity(), conversation_id=conversation_id, body=body.body)
        )
        answer = reply(note, 201)
    broadcast.note_new(note)
    return answer


@routes.get("/conversations/<id:conversation_id>/notes")
@operation(
    "The private notes of a conversation",
    query=PageQuery,
    returns={200: NoteOut},
    roles=CARE,
    page=True,
    raises=(NotFound,),
)
def list_notes(conversation_id: str, query: PageQuery) -> Response:
    with reading() as session:
        conversations.get_conversation(session, identity(), conversation_id)
        return reply_page(conversations.notes_of(session, conversation_id, query), NoteOut)


@routes.get("/agent/customers/<id:user_id>")
@operation("A customer's card", returns={200: CustomerOut}, roles=CARE)
def get_customer(user_id: str) -> Response:
    """What the events of the other services have told so far; empty for an account that none has told of."""
    with reading() as session:
        return reply(CustomerOut.of(user_id, accounts.facts_of(session, user_id)))


@routes.get("/agent/canned-responses")
@operation(
    "Texts that are kept ready", query=PageQuery, returns={200: CannedResponseOut}, roles=CARE, page=True
)
def list_canned_responses(query: PageQuery) -> Response:
    with reading() as session:
        return reply_page(care.canned_responses(session, query), CannedResponseOut)


@routes.post("/agent/canned-responses")
@operation(
    "Keep a text ready",
    body=CannedResponseIn,
    returns={201: CannedResponseOut},
    roles=CARE,
    raises=(ShortcutTaken,),
)
def post_canned_response(body: CannedResponseIn) -> Response:
    return _save(work_id(), body, new=True)


@routes.put("/agent/canned-responses/<id:response_id>")
@operation(
    "Change a text that is kept ready",
    body=CannedResponseIn,
    returns={200: CannedResponseOut},
    roles=CARE,
    raises=(NotFound, ShortcutTaken),
)
def put_canned_response(response_id: str, body: CannedResponseIn) -> Response:
    return _save(response_id, body, new=False)


def _save(response_id: str, body: CannedResponseIn, *, new: bool) -> Response:
    with transaction() as session:
        saved = use_cases.save_canned_response(
            session,
            identity(),
            response_id=response_id,
            shortcut=body.shortcut,
            language=body.language,
            body=body.body,
            new=new,
        )
        return reply(CannedResponseOut.of(saved), 201 if new else 200)


@routes.delete("/agent/canned-responses/<id:response_id>")
@operation("Keep a text ready no longer", returns={204: None}, roles=CARE, raises=(NotFound,))
def delete_canned_response(response_id: str) -> Response:
    with transaction() as session:
        use_cases.delete_canned_response(session, response_id=response_id)
        return reply(None, 204)
