"""Numbers of Sri Lankan national identity cards (NIC).

Old form: nine digits and V or X (`912680444V`): two of the year of birth (19..), three of the day in the year, three of
a serial number, a check digit. New form, since 2016: twelve digits (`199126800444`), with the whole year and a serial
number of four. Women's days are raised by 500.

Days are counted in a calendar in which February always has 29: 1 March is day 61 in every year, and day 60 is of leap
years only (docs/adr/0045).
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

_OLD = re.compile(r"(\d{2})(\d{3})\d{4}[VX]")
_NEW = re.compile(r"(\d{4})(\d{3})\d{5}")
_WOMEN_FROM = 500
_LEAP_YEAR = date(2000, 1, 1)
_LEAP_DAY = 60


@dataclass(frozen=True)
class Nic:
    """What a number says. Month and day are of the calendar with 366 days."""

    number: str
    year: int
    day_of_year: int
    sex: Literal["male", "female"]

    def fits(self, born: date) -> bool:
        """Whether someone born then has such a number."""
        return (self.year, *self.month_and_day) == (born.year, born.month, born.day)

    @property
    def month_and_day(self) -> tuple[int, int]:
        day = _LEAP_YEAR + timedelta(days=self.day_of_year - 1)
        return day.month, day.day


def parse_nic(text: str) -> Nic:
    """A number in either form, in any case and with blanks. Raises ValueError."""
    number = re.sub(r"[\s-]", "", text).upper()
    old, new = _OLD.fullmatch(number), _NEW.fullmatch(number)
    if old is not None:
        year, day = 1900 + int(old[1]), int(old[2])
    elif new is not None:
        year, day = int(new[1]), int(new[2])
    else:
        raise ValueError("must have nine digits and V or X, or twelve digits")
    female = day > _WOMEN_FROM
    day_of_year = day - _WOMEN_FROM if female else day
    exists = 1 <= day_of_year <= 366 and (day_of_year != _LEAP_DAY or calendar.isleap(year))
    if not (1900 <= year <= 2100 and exists and number.isascii()):
        raise ValueError("is not a number that was given to anyone")
    return Nic(number, year, day_of_year, "female" if female else "male")
