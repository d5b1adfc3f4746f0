"""What staff did."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from common import clock, ids
from common.db import Id
from provisioning.models.base import Base


class AdminAct(Base):
    """Who did what, to what, for which customer, from where. Rows are only ever added."""

    __tablename__ = "admin_acts"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new_id)
    actor_id: Mapped[str] = mapped_column(Id)
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(Id)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    ip: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(default=clock.now)
