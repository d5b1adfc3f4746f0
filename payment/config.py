"""Settings of payment."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from common.settings import Settings as CommonSettings
from common.settings import shared


class Settings(CommonSettings):
    """Read by `Settings.from_env(os.environ)` in `create_app` and the worker."""

    SERVICE: ClassVar[str] = "payment"

    gateway: Literal["simulated", "stripe"] = Field(
        default="simulated", description="the card gateway that takes new charges"
    )
    second_gateway: Literal["simulated", "stripe"] | None = Field(
        default=None, description="takes new charges while the first is down"
    )
    stripe_api_key: str = Field(default="", description="Stripe's secret key (raw card data must be allowed)")
    stripe_webhook_secret: str = Field(default="", description="signing secret of Stripe's webhook endpoint")
    stripe_api_base: str = Field(default="", description="another address of Stripe's API (tests)")
    simulated_webhook_secret: str = Field(
        default="", description="signs the simulated gateway's callbacks; none are accepted without it"
    )
    simulated_webhook_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="where the simulated gateway sends its callbacks; it sends none without",
    )
    simulated_webhook_delay_ms: int = Field(
        default=2000,
        ge=0,
        le=3_600_000,
        description="its callbacks come up to so late, each at a time of its own: also out of order",
    )
    simulated_webhook_copies: int = Field(
        default=2, ge=1, le=4, description="how often the simulated gateway sends each callback"
    )
    simulated_failure_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of calls that do not reach the simulated gateway"
    )
    voucher_secret: str = Field(
        default="", description="key of the vouchers' hashes; without it there are no vouchers"
    )
    operator_name: str = shared(
        "OPERATOR_NAME", default="Sri-Care", max_length=100, description="whom customers pay, as printed"
    )
    waiting_requests: int = Field(
        default=2, ge=1, description="requests per process that may wait for the event of what they pay"
    )
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
        default="LKR", pattern="^[A-Z]{3}$", description="currency of the customers' first wallet (ISO 4217)"
    )
    further_currencies: str = Field(
        default="",
        pattern="^([A-Z]{3}(,[A-Z]{3})*)?$",
        description="further currencies in which wallets may be topped up, as USD,EUR",
    )

    @property
    def wallet_currencies(self) -> frozenset[str]:
        return frozenset((self.wallet_currency, *self.further_currencies.split(","))) - {""}

    @model_validator(mode="after")
    def _stripe_has_its_key(self) -> Self:
        if "stripe" in (self.gateway, self.second_gateway) and not self.stripe_api_key:
            raise ValueError("PAYMENT_STRIPE_API_KEY is not set")
        if self.gateway == self.second_gateway:
            raise ValueError("PAYMENT_SECOND_GATEWAY is the first one")
        return self
