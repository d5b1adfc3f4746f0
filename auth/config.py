"""Settings of auth."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from common.settings import Settings as CommonSettings
from common.settings import shared


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "auth"

    keys_dir: Path = Field(description="folder of the RS256 signing keys; made at first start when empty")
    access_token_s: int = Field(default=900, ge=60, le=3600, description="life of an access token, seconds")
    refresh_token_s: int = Field(default=30 * 86400, ge=3600, description="life of a refresh token, seconds")
    refresh_grace_s: int = Field(
        default=10, ge=0, le=60, description="a lost answer may be fetched again so long"
    )
    jwks_url: str = shared("JWKS_URL", default="", description="not used by auth, which has the keys")
