"""What customers used of their allowances."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock
from common.db import Id
from provisioning.models.base import Base


class Usage(Base):
    """A record as the network counted it, by its id: `drawn` of its amount came out of allowances."""

    __tablename__ = "usage_records"
    __table_args__ = (Index("ix_usage_records_user_id_used_at", "user_id", "used_at"),)

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(40))
    amount: Mapped[int] = mapped_column(BigInteger)
    drawn: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
