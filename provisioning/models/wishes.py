"""What customers keep in mind."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from common import clock, ids
from common.db import Id
from provisioning.models.base import Base
from provisioning.models.catalogue import Offering


class Wish(Base):
    """An offering on a customer's wishlist."""

    __tablename__ = "wishes"
    __table_args__ = (
        UniqueConstraint("user_id", "offering_id"),
        Index("ix_wishes_user_id_id", "user_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    user_id: Mapped[str] = mapped_column(Id)
    offering_id: Mapped[str] = mapped_column(ForeignKey("offerings.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    offering: Mapped[Offering] = relationship()
