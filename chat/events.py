"""Events that chat emits."""

from chat.models import Conversation, Message
from common.db.tables import Outbox
from common.messaging import new_event


def message_missed(conversation: Conversation, message: Message) -> Outbox:
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
