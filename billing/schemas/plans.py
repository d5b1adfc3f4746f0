"""Plans and subscriptions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from billing.models import Plan, Subscription, SubscriptionTerm
from billing.models.tariffs import RATES, Rate
from billing.schemas.shared import MAX_SUBTOTAL_MINOR, UserId, printable
from common import clock
from common.db import PageQuery
from common.money import Money, PositiveMoney
from common.schemas import Body


class PlanIn(Body):
    code: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(printable)]
    description: str = Field(default="", max_length=500)
    category: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        examples=["mobile"],
        description="an account has one of each category",
    )
    price: Money = Field(description="per month, net of taxes; may be zero")
    rates: list[Rate] = Field(default_factory=list, max_length=50)
    roaming_cap: PositiveMoney | None = Field(
        default=None, description="most that roaming can cost in a month"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not 0 <= self.price.amount_minor <= MAX_SUBTOTAL_MINOR:
            raise ValueError("price must not be negative or absurd")
        if self.roaming_cap is not None and self.roaming_cap.currency != self.price.currency:
            raise ValueError("price and roaming_cap must be in one currency")
        if len({(rate.kind, rate.zone) for rate in self.rates}) != len(self.rates):
            raise ValueError("a kind may have one rate in each zone")
        return self


class PlanOut(BaseModel):
    id: str
    code: str
    name: str
    description: str
    category: str
    price: Money
    rates: list[Rate]
    roaming_cap: Money | None
    offered: bool

    @classmethod
    def of(cls, plan: Plan) -> Self:
        cap = plan.roaming_cap_minor
        return cls(
            id=plan.id,
            code=plan.code,
            name=plan.name,
            description=plan.description,
            category=plan.category,
            price=plan.price,
            rates=list(RATES.validate_json(plan.rates)),
            roaming_cap=None if cap is None else Money(amount_minor=cap, currency=plan.currency),
            offered=plan.offered,
        )


class SubscriptionsQuery(PageQuery):
    user_id: UserId | None = None


class SubscriptionIn(Body):
    plan_id: UserId = Field(description="a plan's id")


class ChangeIn(Body):
    plan_id: UserId = Field(description="a plan's id")
    when: Literal["now", "period_end"] = "now"


class CancelIn(Body):
    when: Literal["now", "period_end"] = "period_end"


class TermOut(BaseModel):
    plan_id: str
    plan_name: str
    starts_at: datetime
    ends_at: datetime | None


class SubscriptionOut(BaseModel):
    """`plan` is the one that holds now (or held last), `next_plan` the one that a change brings."""

    id: str
    state: Literal["active", "cancelled"]
    plan: PlanOut
    next_plan: PlanOut | None
    started_at: datetime
    ends_at: datetime | None = Field(description="when it ends, or has ended")
    billed_through: str | None
    terms: list[TermOut]

    @classmethod
    def of(cls, subscription: Subscription, terms: Sequence[tuple[SubscriptionTerm, Plan]]) -> Self:
        now = clock.now()
        begun = [plan for term, plan in terms if term.starts_at <= now]
        to_come = [plan for term, plan in terms if term.starts_at > now]
        return cls(
            id=subscription.id,
            state="active" if subscription.active_at(now) else "cancelled",
            plan=PlanOut.of(begun[-1]),
            next_plan=PlanOut.of(to_come[0]) if to_come else None,
            started_at=subscription.started_at,
            ends_at=subscription.ends_at,
            billed_through=subscription.billed_through,
            terms=[
                TermOut(plan_id=plan.id, plan_name=plan.name, starts_at=term.starts_at, ends_at=term.ends_at)
                for term, plan in terms
            ],
        )
