"""`python -m dev.variables`: renews the tables of variables in docs/operations.md from the services' Settings."""

import importlib
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from common.settings import Settings
from dev.environment import ROOT, SERVICES

DOCUMENT = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- variables: begin -->\n", "<!-- variables: end -->\n"


def tables() -> str:
    """Markdown: what all services read, then each one's own."""
    shared = {variable: field for _, field, variable in _fields(Settings) if not variable.startswith("_")}
    parts = ["### All services", "", *_table(shared), ""]
    for service in SERVICES:
        settings = importlib.import_module(f"{service}.config").Settings
        own = {variable: field for _, field, variable in _fields(settings) if variable not in shared}
        parts += [f"### {service}", "", *_table(own), ""]
    return "\n".join(parts)


def with_tables(document: str) -> str:
    """The document with its tables renewed."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def _fields(settings: type[Settings]) -> Iterator[tuple[str, FieldInfo, str]]:
    """(field, its info, its variable); for `Settings` itself the variables without a service's prefix only."""
    names = settings.variables()
    for name, field in settings.model_fields.items():
        yield name, field, names[name]


def _table(fields: dict[str, FieldInfo]) -> list[str]:
    rows = ["| variable | default | |", "|---|---|---|"]
    for variable, field in fields.items():
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{variable}` | {_default(field)} | {description} |")
    return rows


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be set"
    if field.default in (None, "", (), {}):
        return "–"
    return f"`{field.default}`".replace("|", "\\|")


def main() -> None:
    renewed = with_tables(DOCUMENT.read_text(encoding="utf-8"))
    DOCUMENT.write_text(renewed, encoding="utf-8")
    sys.stdout.write(f"renewed {DOCUMENT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
