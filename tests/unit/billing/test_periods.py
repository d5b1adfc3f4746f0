"""Months of the operator: their days, where they begin and end, and what of a fee falls on which."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.use_cases.periods import after, days_held, days_in, from_to, period_of, start_of

YEARS = 4 * 365 * 24 * 60
INSTANTS = st.integers(0, YEARS).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@pytest.mark.parametrize(
    ("at", "period"),
    [
        (datetime(2026, 11, 30, 18, 29, 59, 999999, UTC), "2026-11"),
        (datetime(2026, 11, 30, 18, 30, tzinfo=UTC), "2026-12"),
        (datetime(2026, 12, 31, 18, 30, tzinfo=UTC), "2027-01"),
        (datetime(2028, 2, 28, 18, 30, tzinfo=UTC), "2028-02"),
    ],
)
def test_a_month_begins_at_midnight_in_colombo(at: datetime, period: str) -> None:
    assert period_of(at) == period


@pytest.mark.parametrize(
    ("period", "days"), [("2026-02", 28), ("2028-02", 29), ("2100-02", 28), ("2026-12", 31)]
)
def test_a_month_has_its_days_also_in_a_leap_year(period: str, days: int) -> None:
    assert days_in(period) == days == days_held(datetime(2000, 1, 1, tzinfo=UTC), None, period)


def test_months_follow_each_other_over_the_turn_of_the_year() -> None:
    assert list(from_to("2027-11", "2028-02")) == ["2027-11", "2027-12", "2028-01", "2028-02"]
    assert start_of(date(2028, 3, 1)) - start_of(date(2028, 2, 1)) == timedelta(days=29)


@given(st.lists(INSTANTS, min_size=2, max_size=6).map(sorted))
def test_however_a_time_is_divided_into_terms_each_of_its_days_is_held_once(turns: list[datetime]) -> None:
    first, last = turns[0], turns[-1]
    for period in from_to(period_of(first), after(period_of(last))):
        parts = sum(days_held(start, end, period) for start, end in pairwise(turns))
        assert parts == days_held(first, last, period) <= days_in(period)
