"""Events that chat emits."""

from collections.abc import Sequence

from chat.models import Conversation, Message, Ticket
from common import clock
from common.db.session import NewEvent
from common.messaging import new_event


def message_missed(conversation: Conversation, message: Message) -> NewEvent:
    """About the customer. What was said stays in the conversation: notifications travel over foreign networks."""
    return new_event(
        "chat.message.missed",
        subject=conversation.customer_id,
        data={
            "user_id": conversation.customer_id,
            "conversation_id": conversation.id,
            "message_id": message.id,
            "seq": message.seq,
            "sender_name": message.sender.name if message.sender else None,
        },
    )


def transcript_requested(conversation: Conversation, messages: Sequence[Message], omitted: int) -> NewEvent:
    """With every word that was said: the customer asked for it, and only the customer's e-mail may show it."""
    return new_event(
        "chat.transcript.requested",
        subject=conversation.customer_id,
        data={
            "user_id": conversation.customer_id,
            "conversation_id": conversation.id,
            "subject": conversation.subject,
            "opened_at": clock.rfc3339(conversation.created_at),
            "omitted": omitted,
            "lines": [
                {
                    "seq": message.seq,
                    "sent_at": clock.rfc3339(message.created_at),
                    "sender_role": message.sender_role.value,
                    "sender_name": message.sender.name if message.sender else None,
                    "body": message.body,
                }
                for message in messages
            ],
        },
    )


def ticket_created(ticket: Ticket) -> NewEvent:
    return new_event("ticket.created", subject=ticket.customer_id, data=_ticket(ticket))


def ticket_updated(ticket: Ticket) -> NewEvent:
    """Another state than resolved, or an answer that the customer may read."""
    return new_event("ticket.updated", subject=ticket.customer_id, data=_ticket(ticket))


def ticket_resolved(ticket: Ticket) -> NewEvent:
    return new_event("ticket.resolved", subject=ticket.customer_id, data=_ticket(ticket))


def _ticket(ticket: Ticket) -> dict[str, object]:
    return {
        "ticket_id": ticket.id,
        "number": ticket.number,
        "user_id": ticket.customer_id,
        "subject": ticket.subject,
        "category": ticket.category.value,
        "priority": ticket.priority.value,
        "state": ticket.state.value,
    }
