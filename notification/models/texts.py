"""Texts as staff have changed them."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from common import clock
from common.db import Id, enum_column
from notification.models.base import Base, Language


class TextVersion(Base):
    """A text as staff have written it. Rows are only added; the highest version counts."""

    __tablename__ = "text_versions"

    code: Mapped[str] = mapped_column(String(100), primary_key=True)
    language: Mapped[Language] = mapped_column(enum_column(Language), primary_key=True)
    channel: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    @property
    def parts(self) -> dict[str, str]:
        return {"body": self.body} | ({"title": self.title} if self.title is not None else {})
