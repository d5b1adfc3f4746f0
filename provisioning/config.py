"""Settings of provisioning."""

from typing import ClassVar, Literal

from pydantic import Field

from common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "provisioning"

    unpaid_order_life_s: int = Field(
        default=24 * 3600, ge=60, description="an order unpaid for so many seconds expires"
    )
    element_driver: Literal["simulated"] = Field(
        default="simulated", description="how network elements are reached"
    )
    element_threads: int = Field(
        default=4, ge=1, le=64, description="calls to network elements at the same time"
    )
    element_lease_s: int = Field(
        default=30,
        ge=5,
        description="after so many seconds a call whose worker died is made again; longer than any call takes",
    )
    simulated_latency_ms: int = Field(
        default=5, ge=0, le=10_000, description="how long the simulated elements take to answer"
    )
    simulated_failure_rate: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of calls to simulated elements that fail for now, half of them after they took effect",
    )
    simulated_seed: int = Field(default=0, description="seed of the simulated failures")
    simulated_refuses: str = Field(
        default="AQ,withdrawn",
        max_length=1000,
        description="offering codes and characteristic values that the simulated elements refuse for good,"
        " separated by commas",
    )
