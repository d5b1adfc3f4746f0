"""Settings of payment."""

from typing import ClassVar, Literal

from pydantic import Field

from common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "payment"

    gateway: Literal["simulated"] = Field(default="simulated", description="which card gateway is used")
    simulated_latency_ms: int = Field(
        default=0, ge=0, le=10_000, description="how long the simulated gateway takes for each call"
    )
    reference_wait_s: float = Field(
        default=2.0, ge=0, le=10, description="how long a payment waits for the event of its order or invoice"
    )
    reference_young_s: int = Field(
        default=600,
        ge=0,
        le=86_400,
        description="an unknown reference up to this age is accepted and waited for",
    )
    action_s: int = Field(default=300, ge=10, le=3600, description="time for the bank's one-time password")
    wallet_currency: str = Field(
        default="LKR", pattern="^[A-Z]{3}$", description="currency of the customers' wallets (ISO 4217)"
    )
