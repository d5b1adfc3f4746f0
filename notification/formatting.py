"""Amounts, dates and ways of paying as each language writes them; times are Sri Lankan."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from common.clock import OPERATOR_ZONE

RUPEE = {"en": "Rs.", "si": "රු.", "ta": "ரூ."}
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "si": "ජනවාරි පෙබරවාරි මාර්තු අප්‍රේල් මැයි ජූනි ජූලි අගෝස්තු සැප්තැම්බර් ඔක්තෝබර් නොවැම්බර් දෙසැම්බර්",
    "ta": "ஜனவரி பெப்ரவரி மார்ச் ஏப்ரல் மே ஜூன் ஜூலை ஆகஸ்ட் செப்டம்பர் ஒக்டோபர் நவம்பர் டிசம்பர்",
}
PATTERN = {"en": "{day} {month} {year}", "si": "{year} {month} {day}", "ta": "{day} {month} {year}"}
CARD = {"en": "card", "si": "කාඩ්පත", "ta": "அட்டை"}
SENDERS = {
    "customer": {"en": "You", "si": "ඔබ", "ta": "நீங்கள்"},
    "agent": {"en": "Customer care", "si": "පාරිභෝගික සේවාව", "ta": "வாடிக்கையாளர் சேவை"},
    "bot": {"en": "Assistant", "si": "සහායක", "ta": "உதவியாளர்"},
    "system": {"en": "Sri-Care", "si": "Sri-Care", "ta": "Sri-Care"},
}
WALLET = {"en": "wallet", "si": "පසුම්බිය", "ta": "பணப்பை"}


def money(value: Mapping[str, Any], language: str) -> str:
    """`{"amount_minor": 120000, "currency": "LKR"}` → `Rs. 1,200.00`."""
    minor, currency = value["amount_minor"], value["currency"]
    whole, cents = divmod(abs(minor), 100)
    unit = RUPEE[language] if currency == "LKR" else currency
    return f"{'-' if minor < 0 else ''}{unit} {whole:,}.{cents:02d}"


def day(value: str, language: str) -> str:
    """A date (`2026-12-05`), or the Sri Lankan day of an instant."""
    found = (
        datetime.fromisoformat(value).astimezone(OPERATOR_ZONE) if "T" in value else date.fromisoformat(value)
    )
    month = MONTHS[language].split(" ")[found.month - 1]
    return PATTERN[language].format(day=found.day, month=month, year=found.year)


def moment(value: str, language: str) -> str:
    """An instant as Sri Lankan day and time."""
    return f"{day(value, language)} {datetime.fromisoformat(value).astimezone(OPERATOR_ZONE):%H:%M}"


def means(method: Mapping[str, Any], language: str) -> str:
    """How something was paid: `Visa *4242`, or the wallet."""
    if method.get("last4"):
        brand = str(method.get("brand") or "").title() or CARD[language]
        return f"{brand} *{method['last4']}"
    return WALLET[language] if method["type"] == "wallet" else CARD[language]


def transcript(lines: Sequence[Mapping[str, Any]], language: str) -> str:
    """What was said, each message a paragraph with its time and sender."""
    return "\n\n".join(
        f"{moment(line['sent_at'], language)} · {_sender(line, language)}\n{line['body'].strip()}"
        for line in lines
    )


def _sender(line: Mapping[str, Any], language: str) -> str:
    usual: str = SENDERS[line["sender_role"]][language]
    return usual if line["sender_role"] in ("customer", "bot") else line["sender_name"] or usual
