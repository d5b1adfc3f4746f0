"""The kept Typst compilers: the first page of a template costs some 55 ms, each further one 3."""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import typst

FONTS = ("Noto Sans", "Noto Sans Sinhala", "Noto Sans Tamil")
"""One line may hold all three scripts: each glyph comes from the first font that has it."""

_FONT_FILES = Path(__file__).parent / "fonts"
_lock = Lock()


def render_pdf(template: Path, data: dict[str, Any]) -> bytes:
    """The template, filled in, as PDF; the same bytes for the same data. Images and imports of the template lie in its
    folder; `data` gets `fonts` added."""
    inputs = {"data": orjson.dumps(data | {"fonts": FONTS}).decode()}
    with _lock:  # a compiler is not to be shared between threads
        pdf = _compiler(template).compile(format="pdf", sys_inputs=inputs, timestamp=0)
    assert isinstance(pdf, bytes)
    return pdf


@cache
def _compiler(template: Path) -> typst.Compiler:
    return typst.Compiler(
        input=str(template),
        root=str(template.parent),
        font_paths=[str(_FONT_FILES)],
        ignore_system_fonts=True,
    )
