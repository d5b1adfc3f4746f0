"""Texts as staff have changed them: every version is kept, the newest counts, the shipped one is version 0."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import NotFound
from notification import rendering
from notification.errors import TextNotUsable
from notification.models import Language, TextVersion
from notification.templating import refusal_of

Parts = Mapping[str, str]


def current_text(session: Session, *, code: str, language: Language, channel: str) -> tuple[int, Parts]:
    """The version that counts, and its parts. Raises NotFound for a text that nobody is sent."""
    shipped = rendering.shipped(code, language, channel)
    if shipped is None:
        raise NotFound()
    newest = session.scalars(
        select(TextVersion)
        .where(TextVersion.code == code, TextVersion.language == language, TextVersion.channel == channel)
        .order_by(TextVersion.version.desc())
        .limit(1)
    ).first()
    return (newest.version, newest.parts) if newest is not None else (0, shipped)


def change_text(
    session: Session, *, code: str, language: Language, channel: str, parts: Parts, author_id: str
) -> int:
    """Keep a new version; its number. Raises NotFound, TextNotUsable."""
    version, _ = current_text(session, code=code, language=language, channel=channel)
    check_text(code, language, channel, parts)
    session.add(
        TextVersion(
            code=code,
            language=language,
            channel=channel,
            version=version + 1,
            title=parts.get("title"),
            body=parts["body"],
            author_id=author_id,
        )
    )
    return version + 1


def check_text(code: str, language: Language, channel: str, parts: Parts) -> None:
    """Raises NotFound, TextNotUsable naming each part and what is wrong with it."""
    shipped = rendering.shipped(code, language, channel)
    if shipped is None:
        raise NotFound()
    errors = [
        {"field": part, "message": "must be given" if part in shipped else "this channel has none"}
        for part in shipped.keys() ^ parts.keys()
    ]
    for part, source in parts.items():
        refusal = refusal_of(code, language, source)
        if refusal is not None:
            errors.append({"field": part, "message": refusal})
    if errors:
        raise TextNotUsable(
            "; ".join(f"{each['field']}: {each['message']}" for each in errors), errors=errors
        )


def newest_texts(session: Session) -> dict[tuple[str, str, str], rendering.Text]:
    """(code, language, channel) → the newest version of every text that was changed."""
    found: dict[tuple[str, str, str], rendering.Text] = {}
    for row in session.scalars(select(TextVersion).order_by(TextVersion.version)):
        found[row.code, row.language.value, row.channel] = (row.version, row.parts)
    return found
