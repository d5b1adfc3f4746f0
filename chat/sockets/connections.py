"""A client's connection, as far as it matters to the events on it."""

from dataclasses import dataclass, field

from chat.errors import NotJoined
from chat.floods import Bucket
from chat.queries.conversations import CARE_ROLES
from common.identity import Identity


@dataclass(slots=True)
class Connection:
    """One client's connection to the namespace."""

    sid: str
    token: str
    identity: Identity
    bucket: Bucket
    joined: set[str] = field(default_factory=set)
    refused: int = 0

    @property
    def is_care(self) -> bool:
        return bool(self.identity.roles & CARE_ROLES)

    def must_have_joined(self, conversation_id: str) -> None:
        if conversation_id not in self.joined:
            raise NotJoined()
