"""What can be ordered."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id, enum_column
from provisioning.errors import OfferingNotEditable
from provisioning.models.base import Base, Category, Element


class OfferingState(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class Offering(Base):
    """What can be ordered. `stackable` ones may be bought again while active (packs), the others not (features).
    `requires` and `excludes` name the codes of offerings that the customer must have, or must not.

    A bundle is made of the offerings that `bundles` names: characteristics, allowances, KYC, element and whether it
    stacks follow from these, only the price is its own.
    """

    __tablename__ = "offerings"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(String(1000))
    category: Mapped[Category] = mapped_column(enum_column(Category), index=True)
    price_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    validity_days: Mapped[int | None]
    recurring: Mapped[bool]
    requires_kyc: Mapped[bool]
    stackable: Mapped[bool]
    element: Mapped[Element] = mapped_column(enum_column(Element))
    characteristics: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    allowances: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    requires: Mapped[list[str]] = mapped_column(JSON, server_default="[]", default=list)
    excludes: Mapped[list[str]] = mapped_column(JSON, server_default="[]", default=list)
    bundles: Mapped[list[str]] = mapped_column(JSON, server_default="[]", default=list)
    state: Mapped[OfferingState] = mapped_column(enum_column(OfferingState))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    def put_on_sale(self) -> None:
        """Raises OfferingNotEditable unless it is a draft."""
        if self.state is not OfferingState.DRAFT:
            raise OfferingNotEditable(f"The offering is {self.state.value}")
        self.state = OfferingState.ACTIVE

    def retire(self) -> None:
        """No longer sold, for good; what was sold goes on. Raises OfferingNotEditable."""
        if self.state is not OfferingState.ACTIVE:
            raise OfferingNotEditable(f"The offering is {self.state.value}")
        self.state = OfferingState.RETIRED
