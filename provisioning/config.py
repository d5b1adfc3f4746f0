"""Settings of provisioning."""

from datetime import timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from common.settings import Settings as CommonSettings
from provisioning.models import CallRules, Element


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "provisioning"

    unpaid_order_life_s: int = Field(
        default=24 * 3600, ge=60, description="an order unpaid for so many seconds expires"
    )
    quarantine_days: int = Field(
        default=180, ge=0, le=3660, description="for how long a number that was given back is given to nobody"
    )
    catalogue_ttl_s: float = Field(
        default=5.0, gt=0, le=3600, description="for how long the public catalogue is kept in the cache"
    )
    element_driver: Literal["simulated", "http"] | None = Field(
        default=None,
        validate_default=True,
        description="how network elements are reached, `simulated` or `http`; must be said in production",
    )
    element_urls: dict[Element, str] = Field(
        default={},
        validate_default=True,
        description="base URL of each element for the http driver: hlr=https://…,ocs=…,crbt=…,smsc=…",
    )
    element_token: str | None = Field(
        default=None, min_length=16, description="bearer token that the elements know us by"
    )
    element_timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="how long a call may take before its outcome counts as unknown"
    )
    element_threads: int = Field(
        default=16, ge=1, le=64, description="calls to one network element at the same time, per worker"
    )
    element_lease_s: int = Field(
        default=30,
        ge=5,
        validate_default=True,
        description="after so many seconds a call whose worker died is made again; four time-outs at least",
    )
    element_rate_per_s: float = Field(
        default=100.0, gt=0, le=10_000, description="calls that one element gets per second from all workers"
    )
    element_burst: int = Field(
        default=20, ge=1, le=1000, description="how many of these may come at once after a quiet time"
    )
    element_open_after: int = Field(
        default=5, ge=1, le=1000, description="failures in a row after which an element is left alone"
    )
    element_open_s: float = Field(
        default=15.0, gt=0, le=3600, description="for how long; then one call tries it out"
    )
    activation_deadline_s: int = Field(
        default=3600,
        ge=10,
        description="an activation that did not succeed for so long is given up and its money goes back",
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
    simulated_late_ms: int = Field(
        default=0, ge=0, le=60_000, description="how late the answers of those come that took effect"
    )
    simulated_outage_s: float = Field(
        default=0.0, ge=0, description="for how long a simulated element is away, each at a time of its own"
    )
    simulated_outage_every_s: float = Field(
        default=3600.0, gt=0, description="every so many seconds a simulated element is away for that long"
    )
    simulated_seed: int = Field(
        default=0, description="seed of the simulated latencies, failures and outages"
    )
    simulated_refuses: str = Field(
        default="AQ,withdrawn",
        max_length=1000,
        description="offering codes and characteristic values that the simulated elements refuse for good,"
        " separated by commas",
    )

    @field_validator("element_driver")
    @classmethod
    def _said_in_production(cls, driver: str | None, info: ValidationInfo) -> str:
        if driver is None and info.data.get("environment") != "development":
            raise ValueError("must be set in production: `http`, or `simulated` where no network is meant")
        return driver or "simulated"

    @field_validator("element_urls", mode="before")
    @classmethod
    def _parse_urls(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        pairs = (pair.partition("=") for pair in given.split(",") if pair.strip())
        return {name.strip(): url.strip().rstrip("/") for name, _, url in pairs}

    @field_validator("element_urls")
    @classmethod
    def _every_element(cls, urls: dict[Element, str], info: ValidationInfo) -> dict[Element, str]:
        if info.data.get("element_driver") == "http":
            missing = [kind.value for kind in Element if kind not in urls]
            if missing:
                raise ValueError(f"the http driver needs a URL for {', '.join(missing)}")
        for kind, url in urls.items():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{kind.value} needs an http or https URL")
        return urls

    @field_validator("element_lease_s")
    @classmethod
    def _outlasts_calls(cls, lease: int, info: ValidationInfo) -> int:
        if info.data.get("element_driver") == "http" and lease < 4 * info.data.get("element_timeout_s", 0):
            raise ValueError("must be at least four times PROVISIONING_ELEMENT_TIMEOUT_S")
        return lease

    @property
    def call_rules(self) -> CallRules:
        return CallRules(
            lease=timedelta(seconds=self.element_lease_s),
            rate_per_s=self.element_rate_per_s,
            burst=self.element_burst,
            open_after=self.element_open_after,
            open_for=timedelta(seconds=self.element_open_s),
        )
