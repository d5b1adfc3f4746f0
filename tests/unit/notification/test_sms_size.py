"""What an SMS costs: its alphabet, its length, and how many parts it travels in."""

import pytest

from notification.gateway.sms import SmsSize, sms_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", SmsSize("gsm7", 0, 1)),
        ("a" * 160, SmsSize("gsm7", 160, 1)),
        ("a" * 161, SmsSize("gsm7", 161, 2)),
        ("a" * 306, SmsSize("gsm7", 306, 2)),
        ("a" * 307, SmsSize("gsm7", 307, 3)),
        ("\u20ac" * 80, SmsSize("gsm7", 160, 1)),
        ("\u20ac" * 81, SmsSize("gsm7", 162, 2)),
        ("a" * 152 + "\u20ac" + "a" * 152, SmsSize("gsm7", 306, 3)),
        ("@\u00a3\u00e8\u00d1\n", SmsSize("gsm7", 5, 1)),
        ("\u0d85" * 70, SmsSize("ucs2", 70, 1)),
        ("\u0d85" * 71, SmsSize("ucs2", 71, 2)),
        ("\u0b85" * 134, SmsSize("ucs2", 134, 2)),
        ("\u0b85" * 135, SmsSize("ucs2", 135, 3)),
        ("\U0001f600" * 35, SmsSize("ucs2", 70, 1)),
        ("a" * 66 + "\U0001f600" + "a" * 66, SmsSize("ucs2", 134, 3)),
        ("a" * 159 + "`", SmsSize("ucs2", 160, 3)),
    ],
    ids=range(16),
)
def test_an_sms_is_counted_as_networks_count_it(text: str, size: SmsSize) -> None:
    """A sign of two units is never cut in two: a part may stay one short."""
    assert sms_size(text) == size
