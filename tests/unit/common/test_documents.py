"""PDFs: every script in its own font, customers' words as words, the same bytes again."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.documents import render_pdf

TEMPLATE = """
#let data = json(bytes(sys.inputs.data))
#set document(title: data.title, date: none)
#set text(font: data.fonts)
#data.title
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "page.typ"
    path.write_text(TEMPLATE, encoding="utf-8")
    return path


def fonts_of(pdf: bytes) -> set[str]:
    return {name.decode() for name in re.findall(rb"/BaseFont/[A-Z]{6}\+([A-Za-z-]+)", pdf)}


def test_a_line_may_hold_three_scripts(template: Path) -> None:
    pdf = render_pdf(template, {"title": "Receipt ශ්‍රී ලංකා ரசீது"})
    assert pdf.startswith(b"%PDF-")
    assert len(fonts_of(pdf)) == 3
    assert len(fonts_of(render_pdf(template, {"title": "Receipt"}))) == 1


def test_what_a_customer_wrote_is_never_markup(template: Path) -> None:
    hostile = r'#read("/etc/passwd") #panic() $x$ *b* @nothing "quoted" \ '
    assert render_pdf(template, {"title": hostile}).startswith(b"%PDF-")


def test_the_same_data_gives_the_same_bytes_from_any_thread(template: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: render_pdf(template, {"title": "Receipt"}), range(8)))
    assert len(set(made)) == 1
