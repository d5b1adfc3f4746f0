"""Printed documents: a Typst template and data become a PDF, in English, Sinhala and Tamil.

Templates belong to the services; the fonts lie here once. A template reads its data by
`#let data = json(bytes(sys.inputs.data))`, so what customers write is text to it and never markup, and names
`FONTS` in `#set text(font: data.fonts)`.
"""

from common.documents.render import FONTS, render_pdf

__all__ = ["FONTS", "render_pdf"]
