"""The intent table: phrases of whole words in three languages with their weight, and how a text is scored by it."""

import unicodedata
from collections.abc import Mapping
from enum import StrEnum

UNSURE_BELOW = 2
"""Points that the best intent needs. One word that could mean anything has 1, one that tells has 2, a phrase 3."""


class Intent(StrEnum):
    AGENT = "agent"
    BALANCE = "balance"
    BILL = "bill"
    DUE_DATE = "due_date"
    DATA = "data"
    ORDER = "order"
    BUY = "buy"
    HOW_TO_PAY = "how_to_pay"
    ROAMING = "roaming"
    HOURS = "hours"
    GREETING = "greeting"
    THANKS = "thanks"
    YES = "yes"
    NO = "no"


PHRASES: Mapping[Intent, Mapping[int, str]] = {
    Intent.AGENT: {
        5: "talk to a person, speak to a person, talk to someone, speak to someone, talk to an agent, "
        "speak to an agent, speak with an agent, talk with an agent, human agent, real person, customer care agent, "
        "talk to a human, speak to a human, connect me, complaint, "
        "නියෝජිතයෙක්, නියෝජිතයා, නියෝජිතයෙකු, කෙනෙක් එක්ක කතා, පැමිණිල්ලක්, "
        "முகவர், முகவருடன், பணியாளருடன், மனிதருடன், புகார்",
        3: "agent, human, representative, operator, person, නියෝජිත, පැමිණිල්ල, பணியாளர்",
    },
    Intent.BALANCE: {
        3: "my balance, wallet balance, account balance, balance is, how much money, how much credit, "
        "ගිණුම් ශේෂය, මගේ ශේෂය, என் இருப்பு, கணக்கு இருப்பு, மீதித் தொகை",
        2: "balance, wallet, ශේෂය, ශේෂ, පසුම්බිය, இருப்பு, மீதி, பணப்பை",
        1: "credit, money, සල්ලි, பணம்",
    },
    Intent.BILL: {
        3: "my bill, latest bill, last bill, how much do i owe, how much is my bill, outstanding amount, "
        "මගේ බිල, மின் பில், என் பில்",
        2: "bill, bills, invoice, invoices, owe, outstanding, බිල, බිල්, බිල්පත, ඉන්වොයිසිය, பில், கட்டணப்பட்டியல், விலைப்பட்டியல்",
        1: "charge, charges, ගාස්තුව, கட்டணம்",
    },
    Intent.DUE_DATE: {
        4: "due date, when is my bill due, when is it due, pay by when, when must i pay, when do i have to pay, "
        "last date, ගෙවිය යුතු දිනය, අවසන් දිනය, ගෙවීමට අවසන් දිනය, கடைசி தேதி, இறுதி நாள், செலுத்த வேண்டிய தேதி",
        2: "due, overdue, deadline",
    },
    Intent.DATA: {
        4: "data left, data balance, remaining data, data remaining, how much data, data usage, data do i have, "
        "gb left, mb left, ඩේටා ඉතිරි, ඉතිරි ඩේටා, ඩේටා ප්‍රමාණය, டேட்டா மீதி, மீதி டேட்டா, மீதமுள்ள டேட்டா",
        2: "data, gb, mb, internet, quota, allowance, ඩේටා, දත්ත, අන්තර්ජාලය, டேட்டா, தரவு, இணையம்",
    },
    Intent.ORDER: {
        4: "my order, order status, order state, status of my order, where is my order, track my order, "
        "මගේ ඇණවුම, ඇණවුමේ තත්ත්වය, என் ஆர்டர், ஆர்டர் நிலை",
        2: "order, orders, activation, activated, ඇණවුම, ඇණවුම්, සක්‍රිය, ஆர்டர், கோரிக்கை",
    },
    Intent.BUY: {
        5: "activate, buy, purchase, subscribe, subscribe to, turn on, switch on, order a, order another, add a pack, "
        "get a pack, new pack, more data, need data, want data, want a data, want roaming, need roaming, "
        "ක්‍රියාත්මක කරන්න, සක්‍රිය කරන්න, මිලදී ගන්න, ගන්න ඕන, පැකේජයක්, "
        "செயல்படுத்த, செயல்படுத்தவும், வாங்க, வாங்க வேண்டும், பேக் வேண்டும்",
    },
    Intent.HOW_TO_PAY: {
        5: "how to pay, how do i pay, how can i pay, ways to pay, where can i pay, pay my bill, pay the bill, "
        "payment methods, payment options, ගෙවන්නේ කොහොමද, ගෙවන්නේ කෙසේද, ගෙවිය හැක්කේ කෙසේද, බිල ගෙවන්න, "
        "எப்படி செலுத்துவது, எவ்வாறு செலுத்துவது, பில் செலுத்த",
        2: "pay, payment, paying, ගෙවන්න, ගෙවීම, செலுத்த, செலுத்துவது",
    },
    Intent.ROAMING: {
        3: "roaming, use abroad, phone abroad, travelling abroad, traveling abroad, overseas, "
        "රෝමිං, විදේශගත, රෝමින්, ரோமிங், வெளிநாட்டில்",
        2: "abroad, විදේශ, வெளிநாடு",
    },
    Intent.HOURS: {
        4: "opening hours, business hours, working hours, office hours, when are you open, what time do you open, "
        "are you open, විවෘත වේලාව, විවෘත වේලාවන්, කාර්යාල වේලාව, திறக்கும் நேரம், வேலை நேரம், அலுவலக நேரம்",
        2: "open, hours, විවෘත, திறந்திருக்கும்",
    },
    Intent.GREETING: {
        2: "hi, hello, hey, good morning, good afternoon, good evening, ayubowan, vanakkam, හලෝ, ආයුබෝවන්, "
        "வணக்கம், ஹலோ"
    },
    Intent.THANKS: {2: "thanks, thank you, ස්තූතියි, ස්තුතියි, බොහොම ස්තූතියි, நன்றி"},
    Intent.YES: {2: "yes, yes please, ok, okay, sure, yeah, ඔව්, හරි, කැමතියි, ஆம், ஆமா, சரி"},
    Intent.NO: {2: "no, no thanks, nope, not now, නැහැ, නෑ, එපා, இல்லை, வேண்டாம்"},
}
_POLITE = frozenset({Intent.GREETING, Intent.THANKS, Intent.YES, Intent.NO})


CATEGORIES: Mapping[Intent, str] = {Intent.ROAMING: "roaming", Intent.DATA: "data"}
"""Kinds of offerings, by the subject that tells of them."""


def category_in(text: str) -> str | None:
    """Which kind of offering somebody wants; None: none in particular."""
    return next((category for intent, category in CATEGORIES.items() if intent in scores(text)), None)


def words(text: str) -> tuple[str, ...]:
    """Lower-case words. Vowel signs and joiners of Sinhala and Tamil belong to their word."""
    found: list[str] = []
    current = ""
    for char in unicodedata.normalize("NFC", text).casefold():
        if unicodedata.category(char)[0] in "LMN":
            current += char
        elif char in "\u200c\u200d'’":
            continue  # written or not, it is the same word
        elif current:
            found.append(current)
            current = ""
    return (*found, current) if current else tuple(found)


def scores(text: str) -> dict[Intent, int]:
    """Points per intent: each phrase counts once, and a word inside a longer phrase that matched does not again."""
    said = words(text)
    found: dict[Intent, int] = {}
    for intent, table in _TABLE.items():
        covered: set[int] = set()
        for phrase, weight in table:
            places = [n for n in range(len(said) - len(phrase) + 1) if said[n : n + len(phrase)] == phrase]
            fresh = [n for n in places if not covered.intersection(range(n, n + len(phrase)))]
            if fresh:
                found[intent] = found.get(intent, 0) + weight
                covered.update(index for n in fresh for index in range(n, n + len(phrase)))
    return found


def best(text: str) -> Intent | None:
    """What the text is about; None when nothing has enough points, or two subjects have as many.

    A greeting or a thank-you beside a subject is only politeness.
    """
    found = {intent: points for intent, points in scores(text).items() if points >= UNSURE_BELOW}
    subjects = {intent: points for intent, points in found.items() if intent not in _POLITE}
    ranked = sorted((subjects or found).items(), key=lambda item: item[1], reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _compiled() -> dict[Intent, list[tuple[tuple[str, ...], int]]]:
    """Longest phrases first, so that they cover their words."""
    table = {}
    for intent, weights in PHRASES.items():
        rows = [(words(phrase), weight) for weight, line in weights.items() for phrase in line.split(",")]
        table[intent] = sorted(rows, key=lambda row: len(row[0]), reverse=True)
    return table


_TABLE = _compiled()
