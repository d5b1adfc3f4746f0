"""Settings of chat."""

from typing import ClassVar, Literal

from pydantic import Field

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
