"""Settings of chat."""

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from chat.hours import Hours
from common.settings import Settings as CommonSettings

AsyncMode = Literal["eventlet", "threading"]


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app`, the server and the worker."""

    SERVICE: ClassVar[str] = "chat"

    host: str = Field(default="127.0.0.1", description="address that the server listens on")
    async_mode: AsyncMode = Field(
        default="eventlet", description="eventlet, or threading: a thread per connection"
    )
    allowed_origins: str = Field(
        default="",
        description="further origins, separated by commas, whose pages may open a socket; the own one always may",
    )
    missed_after_s: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="an agent's message that the customer has not seen for so long is missed",
    )
    bot: Literal["rules", "off"] = Field(
        default="rules", description="who answers first; off: every conversation waits for a person at once"
    )
    business_hours: str = Field(
        default="mon-sun 00:00-24:00",
        description="when people answer, e.g. mon-fri 08:00-12:00,13:00-20:00; sat 09:00-13:00 (Colombo)",
    )
    pay_link: str = Field(
        default="",
        description="where customers pay a bill by card, e.g. https://my.example.lk/pay?invoice={id}; the bot tells it",
    )
    agent_capacity: int = Field(
        default=4, ge=1, le=50, description="conversations of an agent who has not said how many"
    )
    agent_gone_after_s: int = Field(
        default=90, ge=5, le=3600, description="an agent not seen for so long takes no more conversations"
    )
    agent_silent_after_s: int = Field(
        default=300, ge=5, le=86400, description="a customer who waits so long goes back to the queue's front"
    )
    idle_warn_after_s: int = Field(
        default=900, ge=5, le=604800, description="a customer silent for so long is warned"
    )
    idle_close_after_s: int = Field(
        default=300, ge=5, le=604800, description="and after so long more the conversation is closed"
    )
    events_per_s: float = Field(
        default=30.0, gt=0, description="Socket.IO events a second of a connection, and of a user per process"
    )
    events_burst: int = Field(default=120, ge=1, description="how many may come at once before that counts")

    @field_validator("business_hours")
    @classmethod
    def _parses(cls, line: str) -> str:
        Hours.parse(line)
        return line

    @field_validator("pay_link")
    @classmethod
    def _leads_somewhere(cls, link: str) -> str:
        if link and (
            not link.startswith(("https://", "http://")) or "{id}" not in link or link.count("{") > 1
        ):
            raise ValueError("must be a web address with {id} in it")
        return link

    @property
    def hours(self) -> Hours:
        return Hours.parse(self.business_hours)

    @property
    def missed_after(self) -> timedelta:
        return timedelta(seconds=self.missed_after_s)
