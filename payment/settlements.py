"""Settlement files: CSV with the header `kind,key,amount_minor,currency`, read as they come, never as a whole."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from typing import IO, NamedTuple

from common.clock import OPERATOR_ZONE
from common.ids import is_id
from common.money import MAX_MINOR

HEADER = ["kind", "key", "amount_minor", "currency"]
LINE_LIMIT = 1_000


class Line(NamedTuple):
    """A charge that was captured (key: the payment's id) or a refund (the refund's)."""

    kind: str
    key: str
    amount_minor: int
    currency: str


class BadLine(ValueError):
    """A line cannot be read; the message names it."""


def day_begins(on: date) -> datetime:
    """When a day of a settlement begins, in UTC: days are the operator's."""
    return datetime.combine(on, time(), OPERATOR_ZONE).astimezone(UTC)


def read_settlement(stream: IO[bytes]) -> Iterator[Line]:
    """The lines of a file. Raises BadLine."""
    rows = csv.reader(_short_lines(stream))
    try:
        if next(rows, None) != HEADER:
            raise BadLine(f"line 1 must be {','.join(HEADER)}")
        for number, row in enumerate(rows, 2):
            if row:
                yield _line(number, row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadLine(f"not CSV in UTF-8: {type(error).__name__}") from None


def write_settlement(lines: Iterable[Line], *, header: bool = True) -> Iterator[bytes]:
    """A file, or a further part of one, in pieces."""
    if header:
        yield (",".join(HEADER) + "\n").encode()
    for line in lines:
        yield f"{line.kind},{line.key},{line.amount_minor},{line.currency}\n".encode()


def _short_lines(stream: IO[bytes]) -> Iterator[str]:
    """A file without line ends must not fill the memory."""
    buffered = io.BufferedReader(stream, 1 << 16) if isinstance(stream, io.RawIOBase) else stream
    while line := buffered.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise BadLine("a line is too long")
        yield line.decode()


def _line(number: int, row: list[str]) -> Line:
    if len(row) != len(HEADER):
        raise BadLine(f"line {number} has {len(row)} fields")
    kind, key, amount, currency = row
    if kind not in ("charge", "refund") or not is_id(key):
        raise BadLine(f"line {number}: kind or key")
    if not (amount.isascii() and amount.isdigit() and len(amount) <= 16 and 0 < int(amount) <= MAX_MINOR):
        raise BadLine(f"line {number}: amount_minor")
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise BadLine(f"line {number}: currency")
    return Line(kind, key, int(amount), currency)
