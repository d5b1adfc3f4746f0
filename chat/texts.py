"""What the house itself says in a conversation, in the three languages."""

SYSTEM: dict[str, dict[str, str]] = {
    "out_of_hours": {
        "en": "Our people are here {hours} (Colombo time) and will answer from {when} on. You can leave your message.",
        "si": "අපගේ නියෝජිතයන් සිටින්නේ {hours} (කොළඹ වේලාව). {when} සිට පිළිතුරු දෙනු ඇත. ඔබේ පණිවිඩය තබන්න.",
        "ta": "எங்கள் பணியாளர்கள் {hours} (கொழும்பு நேரம்) இருப்பார்கள்; {when} முதல் பதிலளிப்பார்கள். "
        "உங்கள் செய்தியை விட்டுச் செல்லலாம்.",
    },
    "agent_silent": {
        "en": "We are sorry to keep you waiting. You keep your turn, and another agent will be with you.",
        "si": "ඔබට රැඳී සිටීමට සිදු වීම ගැන සමාවන්න. ඔබේ වාරය එලෙසම ඇත; වෙනත් නියෝජිතයෙක් ඔබ හා එක් වේ.",
        "ta": "காத்திருக்க வைத்ததற்கு மன்னிக்கவும். உங்கள் முறை அப்படியே உள்ளது; வேறு பணியாளர் உங்களுடன் இணைவார்.",
    },
    "bot_failed": {
        "en": "I cannot answer that right now. I am putting you through to a person.",
        "si": "මට දැන් එයට පිළිතුරු දිය නොහැක. ඔබව නියෝජිතයෙකුට සම්බන්ධ කරමි.",
        "ta": "இப்போது என்னால் பதிலளிக்க முடியவில்லை. உங்களை ஒரு முகவருடன் இணைக்கிறேன்.",
    },
    "idle_warning": {
        "en": "Are you still there? Without an answer this conversation closes in {minutes} minutes.",
        "si": "ඔබ තවමත් මෙහි සිටිනවාද? පිළිතුරක් නැතිනම් මෙම සංවාදය මිනිත්තු {minutes}කින් වැසේ.",
        "ta": "இன்னும் இருக்கிறீர்களா? பதில் இல்லையெனில் இந்த உரையாடல் {minutes} நிமிடங்களில் மூடப்படும்.",
    },
    "idle_closed": {
        "en": "This conversation was closed because nothing was said for a while. You can open a new one at any time.",
        "si": "කෙටි කලක් නිහඬව තිබූ බැවින් මෙම සංවාදය වසා ඇත. ඕනෑම විට අලුත් එකක් ආරම්භ කළ හැක.",
        "ta": "சிறிது நேரம் எதுவும் பேசப்படாததால் உரையாடல் மூடப்பட்டது. எப்போது வேண்டுமானாலும் புதியதைத் தொடங்கலாம்.",
    },
}


def say(text: str, language: str, **values: object) -> str:
    """A text in the language, English where there is none."""
    found = SYSTEM[text]
    return found.get(language, found["en"]).format(**values)
