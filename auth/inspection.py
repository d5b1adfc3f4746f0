"""Says what an uploaded file really is: run as a process of its own, with little time and memory to spend.

Reads the file from stdin; prints `image/jpeg`, `image/png` or `application/pdf` and exits 0, or prints a reason and
exits 1. A picture that unpacks to gigabytes, or a PDF that sends its parser in circles, ends this process only.
"""

import io
import resource
import sys
import warnings

CPU_S = 5
MEMORY = 768 * 1024 * 1024
MAX_PIXELS = 60_000_000
MAX_PAGES = 30
_ACTIVE = ("/OpenAction", "/AA", "/AcroForm", "/Launch", "/XFA")


class Refused(Exception):
    """The reason, in words for the customer."""


def inspect(content: bytes) -> str:
    """The media type. Raises Refused; parsers may raise anything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return _picture(content, "JPEG", "image/jpeg")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _picture(content, "PNG", "image/png")
    if content.startswith(b"%PDF-"):
        return _pdf(content)
    raise Refused("is neither a JPEG or PNG picture nor a PDF")


def _picture(content: bytes, kind: str, media_type: str) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=[kind]) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise Refused("has too many pixels")
        if kind == "PNG":
            picture.verify()  # every chunk by its checksum, nothing unpacked
        else:
            picture.draft("RGB", (picture.width // 8, picture.height // 8))
            picture.load()  # the whole stream, at an eighth of its size
    return media_type


def _pdf(content: bytes) -> str:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content), strict=True)
    if reader.is_encrypted:
        raise Refused("is encrypted")
    if not 1 <= len(reader.pages) <= MAX_PAGES:
        raise Refused(f"must have 1 to {MAX_PAGES} pages")
    root = reader.root_object
    names = root.get("/Names", {})
    if any(key in root for key in _ACTIVE) or any(key in names for key in ("/JavaScript", "/EmbeddedFiles")):
        raise Refused("contains programs, forms or other files")
    return "application/pdf"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    warnings.simplefilter("error")
    try:
        sys.stdout.write(inspect(sys.stdin.buffer.read()))
    except Refused as refusal:
        sys.stdout.write(str(refusal))
        raise SystemExit(1) from None
    except Exception:  # noqa: BLE001 -- parsers fail on bad files in every way there is
        sys.stdout.write("cannot be read")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
