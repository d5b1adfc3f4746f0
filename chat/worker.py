"""The worker of chat: relays its events, keeps its copies, lets the bot answer, deals out the queue, watches the clock.

What its jobs change they tell the sockets' processes through the fan-out, after the commit.
"""

import logging

from flask import current_app

from chat import broadcast
from chat.app import create_app
from chat.bot import Answer, NoBot, Responder, RuleBot
from chat.config import Settings
from chat.handlers import HANDLERS
from chat.models import Conversation, Message
from chat.queries import care as care_queries
from chat.schemas.care import AgentOut
from chat.schemas.conversations import ConversationOut, MessageOut, PlaceOut
from chat.texts import say
from chat.use_cases import bot, care, conversations, presence
from common.db import reading, transaction
from common.messaging.worker import Job, run_worker

log = logging.getLogger(__name__)

RESPONDERS: dict[str, Responder] = {"rules": RuleBot(), "off": NoBot()}
"""By the setting `bot`. A language model is another entry here."""


def answer_customers() -> bool:
    """The bot's turn in every conversation that waits for it."""
    settings = _settings()
    responder = RESPONDERS[settings.bot]
    with reading() as session:
        turns = bot.turns_due(session, settings)
    for turn in turns:
        answer = _answer(responder, turn)
        with transaction() as session:
            settled = bot.settle_turn(session, settings, turn, answer)
            told = _told(*settled) if settled else None
        if told:
            _tell(*told)
    return len(turns) == bot.AT_ONCE


def _answer(responder: Responder, turn: bot.Turn) -> Answer:
    try:
        return responder.answer(turn.question)
    except Exception:
        log.exception("the bot failed; a person takes over")
        text = say("bot_failed", turn.question.language)
        return Answer(text, hand_over=True, summary="Bot: failed.")


def deal_out_queue() -> None:
    """Give waiting customers to free agents until either runs out, then tell the others where they stand."""
    while True:
        with transaction() as session:
            given = care.dispatch_one(session, _settings())
            conversation = ConversationOut.of(given[0]) if given else None
        if conversation is None:
            break
        broadcast.conversation_updated(conversation)
    with reading() as session:
        places = [PlaceOut.of(place) for place in care_queries.places(session)]
    for place in places:
        broadcast.queue_position(place)


def watch_agents() -> None:
    """Retire who is gone, and bring back whom an agent leaves without an answer."""
    with transaction() as session:
        retired = care.retire_gone_agents(session, _settings())
        statuses = [AgentOut.of(agent, care_queries.load_of(session, agent.id)) for agent in retired]
    while True:
        with transaction() as session:
            returned = care.return_one_unanswered(session, _settings())
            if returned is None:
                break
            told = _told(returned.conversation, [returned.message])
            load = care_queries.load_of(session, returned.agent.id)
            statuses.append(AgentOut.of(returned.agent, load))
        _tell(*told)
    for status in statuses:
        broadcast.agent_presence(status)


def forget_dead_processes() -> None:
    with transaction() as session:
        presence.forget_dead_processes(session)


def tell_of_missed_messages() -> bool:
    with transaction() as session:
        return conversations.tell_of_missed_messages(session)


def look_after_idle() -> bool:
    with transaction() as session:
        found = conversations.look_after_idle(session, _settings())
        told = [_told(conversation, [message]) for conversation, message in found]
    for one in told:
        _tell(*one)
    return len(found) == conversations.AT_ONCE


def _settings() -> Settings:
    found: Settings = current_app.extensions["sricare_settings"]
    return found


def _told(conversation: Conversation, messages: list[Message]) -> tuple[ConversationOut, list[MessageOut]]:
    return ConversationOut.of(conversation), [MessageOut.of(message) for message in messages]


def _tell(conversation: ConversationOut, messages: list[MessageOut]) -> None:
    for message in messages:
        broadcast.message_new(message)
    broadcast.conversation_updated(conversation)


def main() -> None:
    jobs = [
        Job("bot", every_s=2.0, run=answer_customers),
        Job("dispatch", every_s=3.0, run=deal_out_queue),
        Job("agents", every_s=5.0, run=watch_agents),
        Job("idle", every_s=10.0, run=look_after_idle),
        Job("dead-processes", every_s=60.0, run=forget_dead_processes),
        Job("missed-messages", every_s=5.0, run=tell_of_missed_messages),
    ]
    run_worker(create_app(tells_only=True), consumers={"chat.inbox": HANDLERS}, jobs=jobs)


if __name__ == "__main__":
    main()
