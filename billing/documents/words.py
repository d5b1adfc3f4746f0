"""The words of an invoice in each language, and how it writes amounts and days."""

from datetime import date
from typing import Any

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "invoice": "Invoice",
        "number": "Number",
        "account": "Account",
        "issued_on": "Issued on",
        "due_on": "Pay by",
        "period": "Period",
        "state": "Status",
        "customer": "Customer",
        "description": "Description",
        "quantity": "Quantity",
        "unit_price": "Price",
        "amount": "Amount",
        "subtotal": "Net",
        "total": "Total",
        "credit_note": "Credit note",
        "paid": "Paid",
        "due": "To pay",
        "tax_number": "Tax number",
        "page": "Page",
        "states": {
            "draft": "Draft",
            "issued": "To be paid",
            "partially_paid": "Partly paid",
            "paid": "Paid",
            "overdue": "Overdue",
            "void": "Cancelled",
        },
    },
    "si": {
        "invoice": "බිල්පත",
        "number": "අංකය",
        "account": "ගිණුම",
        "issued_on": "නිකුත් කළ දිනය",
        "due_on": "ගෙවිය යුතු දිනය",
        "period": "කාල සීමාව",
        "state": "තත්ත්වය",
        "customer": "පාරිභෝගිකයා",
        "description": "විස්තරය",
        "quantity": "ප්‍රමාණය",
        "unit_price": "මිල",
        "amount": "මුදල",
        "subtotal": "බදු රහිත එකතුව",
        "total": "මුළු එකතුව",
        "credit_note": "බැර පත්‍රය",
        "paid": "ගෙවූ මුදල",
        "due": "ගෙවිය යුතු මුදල",
        "tax_number": "බදු අංකය",
        "page": "පිටුව",
        "states": {
            "draft": "කෙටුම්පත",
            "issued": "ගෙවිය යුතුයි",
            "partially_paid": "කොටසක් ගෙවා ඇත",
            "paid": "ගෙවා ඇත",
            "overdue": "කල් ඉකුත් වී ඇත",
            "void": "අවලංගුයි",
        },
    },
    "ta": {
        "invoice": "பில்",
        "number": "எண்",
        "account": "கணக்கு",
        "issued_on": "வழங்கிய தேதி",
        "due_on": "கடைசித் தேதி",
        "period": "காலம்",
        "state": "நிலை",
        "customer": "வாடிக்கையாளர்",
        "description": "விவரம்",
        "quantity": "அளவு",
        "unit_price": "விலை",
        "amount": "தொகை",
        "subtotal": "வரிக்கு முன்",
        "total": "மொத்தம்",
        "credit_note": "வரவுக் குறிப்பு",
        "paid": "செலுத்தியது",
        "due": "செலுத்த வேண்டியது",
        "tax_number": "வரி எண்",
        "page": "பக்கம்",
        "states": {
            "draft": "வரைவு",
            "issued": "செலுத்தப்பட வேண்டும்",
            "partially_paid": "பகுதி செலுத்தப்பட்டது",
            "paid": "செலுத்தப்பட்டது",
            "overdue": "காலம் கடந்தது",
            "void": "ரத்து செய்யப்பட்டது",
        },
    },
}
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "si": "ජනවාරි පෙබරවාරි මාර්තු අප්‍රේල් මැයි ජූනි ජූලි අගෝස්තු සැප්තැම්බර් ඔක්තෝබර් නොවැම්බර් දෙසැම්බර්",
    "ta": "ஜனவரி பெப்ரவரி மார்ச் ஏப்ரல் மே ஜூன் ஜூலை ஆகஸ்ட் செப்டம்பர் ஒக்டோபர் நவம்பர் டிசம்பர்",
}
_DAY = {"en": "{day} {month} {year}", "si": "{year} {month} {day}", "ta": "{day} {month} {year}"}
_MONTH = {"en": "{month} {year}", "si": "{year} {month}", "ta": "{month} {year}"}


def day(on: date, language: str) -> str:
    return _DAY[language].format(day=on.day, month=_name(on, language), year=on.year)


def month(period: str, language: str) -> str:
    """A billing period, e.g. `2026-11`, as a month in words."""
    first = date.fromisoformat(f"{period}-01")
    return _MONTH[language].format(month=_name(first, language), year=first.year)


def _name(on: date, language: str) -> str:
    return _MONTHS[language].split(" ")[on.month - 1]


def money(minor: int, currency: str) -> str:
    """Minor units as `1,200.00`, in rupees without and otherwise with the currency."""
    whole, cents = divmod(abs(minor), 100)
    text = f"{'−' if minor < 0 else ''}{whole:,}.{cents:02d}"
    return text if currency == "LKR" else f"{currency} {text}"
