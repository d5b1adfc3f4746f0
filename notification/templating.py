"""Texts that staff write: what they may contain, and what they are tried with before they are kept.

Only placing, filters and conditions are allowed: without loops, calls and arithmetic a text is rendered in time and
size bounded by its own length, whatever it is.
"""

from typing import Any

from jinja2 import TemplateError, nodes
from pydantic import JsonValue

from common import contracts
from notification import rendering
from notification.models import Language

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const,
    nodes.Filter, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test,
    nodes.Dict, nodes.Pair,
)  # fmt: skip
_FILTERS = frozenset(
    {
        "money",
        "day",
        "moment",
        "means",
        "transcript",
        "upper",
        "lower",
        "title",
        "capitalize",
        "trim",
        "length",
    }
)
_TESTS = frozenset({"defined", "none"})
RENDERED_AT_MOST = 20_000
TOKENS_A_TAG = 40
TAGS_AT_MOST = 40
"""Jinja reads nested expressions and conditions by recursion: deep ones would exhaust the stack, here or where a worker
renders them."""


def refusal_of(event_type: str, language: Language, source: str) -> str | None:
    """Why a text cannot be kept, or None: what it must not contain, or what an event may lack."""
    try:
        if _is_too_deep(language, source):
            return f"must not have more than {TAGS_AT_MOST} tags or {TOKENS_A_TAG} words and signs in one"
        tree = rendering.parse(language, source)
    except TemplateError as error:
        return f"cannot be read: {error.message}"
    fields = sample(event_type)
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            return f"must not contain {type(node).__name__.lower()}"
        if isinstance(node, nodes.Name) and node.name not in fields:
            return f"there is no field {node.name}"
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            return f"there is no filter {node.name}"
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            return f"there is no test {node.name}"
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            return f"must not use {node.attr}"
    for data in (fields, sample(event_type, everything=False)):
        try:
            rendered = rendering.render_source(language, source, data)
        except TemplateError as error:
            return f"cannot be filled in: {error.message}"
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            return "a filter does not fit what it is given"
        if len(rendered) > RENDERED_AT_MOST:
            return "is too long"
    return None


def _is_too_deep(language: Language, source: str) -> bool:
    """By counting, which takes no recursion itself. Raises jinja2.TemplateError."""
    tags = tokens = 0
    for kind in rendering.tokens(language, source):
        if kind in ("block_begin", "variable_begin"):
            tags, tokens = tags + (kind == "block_begin"), 0
        elif kind != "whitespace":
            tokens += 1
        if tags > TAGS_AT_MOST or (tokens > TOKENS_A_TAG and kind != "data"):
            return True
    return False


def sample(event_type: str, *, everything: bool = True) -> dict[str, Any]:
    """Data as its schema describes it: all fields, or only those that are always there."""
    schema = contracts.schema_of(event_type)
    names = schema["properties"] if everything else schema.get("required", ())
    data = {name: _value(name, schema["properties"].get(name, {})) for name in names}
    return {**data, "name": "Nimali Perera"}


def _value(name: str, schema: dict[str, Any]) -> JsonValue:
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _value(name, next(each for each in schema[several] if each.get("type") != "null"))
    if "const" in schema or "enum" in schema:
        constant: JsonValue = schema.get("const") or next(each for each in schema["enum"] if each is not None)
        return constant
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    if kind == "object":
        return {field: _value(field, each) for field, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(name, schema.get("items", {}))]
    plain: dict[str, JsonValue] = {"integer": 120_000, "number": 1, "boolean": True}
    formats = {
        "date-time": "2026-11-21T04:30:00.000000Z",
        "date": "2026-12-05",
        "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    }
    if name == "currency":
        return "LKR"
    return plain.get(kind, formats.get(schema.get("format", ""), f"[{name}]"))
