"""What is known of customers."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from common.db import Id
from provisioning.models.base import Base


class Customer(Base):
    """What provisioning knows of a user, from auth's events."""

    __tablename__ = "customers"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    phone: Mapped[str | None] = mapped_column(String(20))
    profile_at: Mapped[datetime | None]
    kyc_approved_at: Mapped[datetime | None]
    deactivated_at: Mapped[datetime | None]
    activity_at: Mapped[datetime | None]
    barred: Mapped[bool] = mapped_column(default=False)
    barring_at: Mapped[datetime | None]

    def update_profile(self, *, phone: str, at: datetime) -> None:
        """Take a profile that was current at an instant; an older one than known changes nothing."""
        if self.profile_at is None or at > self.profile_at:
            self.phone, self.profile_at = phone, at

    def set_active(self, active: bool, *, at: datetime) -> None:
        """Whether the account is open since an instant; news older than known changes nothing."""
        if self.activity_at is None or at > self.activity_at:
            self.activity_at, self.deactivated_at = at, None if active else at

    def set_barred(self, barred: bool, *, at: datetime) -> bool:
        """Whether this changed it; news older than known changes nothing."""
        if self.barring_at is not None and at <= self.barring_at:
            return False
        self.barring_at = at
        changed = self.barred is not barred
        self.barred = barred
        return changed
