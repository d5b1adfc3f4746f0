"""From an event and a language to words. The texts are data: `templates/<event type>.toml`, three languages a file.

Templates run in Jinja2's sandbox; a variable that the event lacks is an error, never an empty place in a message.
"""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notification import formatting
from notification.models import Language

TEMPLATES = Path(__file__).parent / "templates"
TITLE_LENGTH = 300
IN_APP = "in_app"
Text = tuple[int, Mapping[str, str]]
"""A version (0 as shipped), and part → source."""
GENERAL = frozenset({"broadcast", "digest"})
"""Families of messages that are of no event."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a channel shows: `title` is the subject of an e-mail and empty for an SMS. `version` is that of the text."""

    title: str
    body: str
    version: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 by which the same words can be known again."""
        return hashlib.sha256(f"{self.title}\n{self.body}".encode()).hexdigest()


@cache
def texts() -> Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]]:
    """Event type → language → channel → part → template source."""
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(TEMPLATES.glob("*.*.toml"))}


@cache
def _general(family: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Language → channel → part → source."""
    return tomllib.loads((TEMPLATES / f"{family}.toml").read_text("utf-8"))


def _source(event_type: str, language: Language, channel: str) -> Text:
    changed = _changed.get((event_type, language.value, channel))
    return changed or as_shipped(event_type, language, channel)


@cache
def channels_of(event_type: str) -> frozenset[str]:
    """`in_app`, `email`, `sms`: the channels for which there are texts of this event."""
    return frozenset(texts()[event_type]["en"])


def render(event_type: str, language: Language, channel: str, context: Mapping[str, Any]) -> Words:
    """The words of one message. Raises jinja2.TemplateError."""
    return render_text(_source(event_type, language, channel), language, context)


def render_text(text: Text, language: Language, context: Mapping[str, Any]) -> Words:
    """Raises jinja2.TemplateError."""
    version, sources = text
    parts = {part: _compiled(language.value, source) for part, source in sources.items()}
    title = " ".join(parts["title"].render(context).split()) if "title" in parts else ""
    return Words(_shortened(title, TITLE_LENGTH), parts["body"].render(context).strip(), version)


def render_email(words: Words, language: Language, context: Mapping[str, Any]) -> tuple[str, str]:
    """Plain text and HTML; greeting and closing are the same in every e-mail of a language."""
    frame = _frame(language.value)
    greeting = frame["greeting"].render(context)
    closing = frame["closing"].render(context)
    paragraphs = [greeting, *(part.strip() for part in words.body.split("\n\n")), closing]
    html = _layout().render(language=language.value, title=words.title, paragraphs=paragraphs)
    return "\n\n".join(paragraphs) + "\n", html


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


@cache
def _environment(language: str) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    for function in (
        formatting.money,
        formatting.day,
        formatting.moment,
        formatting.means,
        formatting.transcript,
    ):
        environment.filters[function.__name__] = partial(function, language=language)
    return environment


@lru_cache(maxsize=2000)
def _compiled(language: str, source: str) -> Template:
    return _environment(language).from_string(source)


_changed: Mapping[tuple[str, str, str], Text] = {}


def use_changed(texts_by_key: Mapping[tuple[str, str, str], Text]) -> None:
    """Put staff's texts, by (event type, language, channel), in the place of the shipped ones in this process."""
    global _changed
    _changed = texts_by_key


def shipped(event_type: str, language: Language, channel: str) -> Mapping[str, str] | None:
    """The parts of a text as it is shipped, or None."""
    return texts().get(event_type, {}).get(language.value, {}).get(channel)


def as_shipped(event_type: str, language: Language, channel: str) -> Text:
    """Version 0, also of what is of no event. Raises LookupError."""
    family = event_type.partition(".")[0]
    if family in GENERAL:
        return 0, _general(family)[language.value][channel]
    return 0, texts()[event_type][language.value][channel]


def tokens(language: Language, source: str) -> Iterator[str]:
    """The kinds of what a template is made of. Raises jinja2.TemplateError."""
    for _line, kind, _value in _environment(language.value).lex(source):
        yield kind


def parse(language: Language, source: str) -> nodes.Template:
    """Raises jinja2.TemplateError."""
    return _environment(language.value).parse(source)


def render_source(language: Language, source: str, context: Mapping[str, Any]) -> str:
    """Raises jinja2.TemplateError, and whatever a filter raises for what it cannot write."""
    return _environment(language.value).from_string(source).render(context)


@cache
def _frame(language: str) -> dict[str, Template]:
    sources = tomllib.loads((TEMPLATES / "email.toml").read_text("utf-8"))[language]
    return {part: _environment(language).from_string(source) for part, source in sources.items()}


@cache
def _layout() -> Template:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    return environment.from_string((TEMPLATES / "email.html").read_text("utf-8"))
