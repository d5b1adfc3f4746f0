"""Events between services: an outbox row in the business transaction, relayed to RabbitMQ, handled once."""

from common.messaging.envelope import Event, new_event
from common.messaging.outcomes import NotYet, Rejected

__all__ = ["Event", "NotYet", "Rejected", "new_event"]
