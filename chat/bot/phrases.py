"""The rule bot's answers in the three languages."""

PHRASES: dict[str, dict[str, str]] = {
    "greeting": {
        "en": "Hello! Ask me about your balance, bills, data or orders, or say “agent” to talk to a person.",
        "si": "ආයුබෝවන්! ඔබේ ශේෂය, බිල්පත්, ඩේටා හෝ ඇණවුම් ගැන අසන්න. කෙනෙකු සමඟ කතා කිරීමට “නියෝජිත” ලියන්න.",
        "ta": "வணக்கம்! இருப்பு, பில், டேட்டா அல்லது ஆர்டர் பற்றிக் கேளுங்கள். ஒருவருடன் பேச “முகவர்” என எழுதுங்கள்.",
    },
    "welcome": {"en": "You are welcome.", "si": "ඔබට සාදරයෙන් පිළිගනිමු.", "ta": "மகிழ்ச்சி."},
    "as_you_like": {
        "en": "All right. What else can I do for you?",
        "si": "හොඳයි. ඔබට තවත් කුමක් කළ හැකිද?",
        "ta": "சரி. வேறு என்ன உதவி வேண்டும்?",
    },
    "unsure": {
        "en": "I am not sure that I understand. Shall I connect you to a person? (yes / no)",
        "si": "මට හරියටම තේරුණේ නැත. ඔබව නියෝජිතයෙකුට සම්බන්ධ කරන්නද? (ඔව් / නැහැ)",
        "ta": "எனக்குச் சரியாகப் புரியவில்லை. உங்களை ஒரு முகவருடன் இணைக்கட்டுமா? (ஆம் / இல்லை)",
    },
    "handing_over": {
        "en": "I am putting you through to a person. They can read what we have written.",
        "si": "මම ඔබව නියෝජිතයෙකුට සම්බන්ධ කරමි. අප ලියූ දේ ඔවුන්ට කියවිය හැක.",
        "ta": "உங்களை ஒரு முகவருடன் இணைக்கிறேன். நாம் எழுதியதை அவர்கள் படிக்கலாம்.",
    },
    "not_known_yet": {
        "en": "I cannot see your account yet. Please ask again in a moment, or say “agent”.",
        "si": "ඔබේ ගිණුම තවම මට නොපෙනේ. මොහොතකින් නැවත අසන්න, නැතහොත් “නියෝජිත” ලියන්න.",
        "ta": "உங்கள் கணக்கு இன்னும் தெரியவில்லை. சிறிது நேரத்தில் மீண்டும் கேளுங்கள், அல்லது “முகவர்” என எழுதுங்கள்.",
    },
    "balance": {
        "en": "Your wallet balance is {amount}.",
        "si": "ඔබේ පසුම්බියේ ශේෂය {amount}.",
        "ta": "உங்கள் பணப்பை இருப்பு {amount}.",
    },
    "bills_total": {
        "en": "Unpaid bills: {count}, together {amount}.",
        "si": "නොගෙවූ බිල්පත්: {count}, එකතුව {amount}.",
        "ta": "செலுத்தாத பில்கள்: {count}, மொத்தம் {amount}.",
    },
    "barred": {
        "en": "Your account is barred at the moment; paying what is due lifts that by itself.",
        "si": "ඔබේ ගිණුම දැනට සීමා කර ඇත; හිඟ මුදල ගෙවූ විට එය ඉවත් වේ.",
        "ta": "உங்கள் கணக்கு தற்போது தடுக்கப்பட்டுள்ளது; நிலுவையைச் செலுத்தினால் தானாக நீங்கும்.",
    },
    "bill": {
        "en": "Bill {number}: {amount}, due on {due_on}.",
        "si": "බිල්පත {number}: {amount}, {due_on} දිනට ගෙවිය යුතුයි.",
        "ta": "பில் {number}: {amount}, கடைசி தேதி {due_on}.",
    },
    "bill_without_date": {
        "en": "Bill {number}: {amount}.",
        "si": "බිල්පත {number}: {amount}.",
        "ta": "பில் {number}: {amount}.",
    },
    "no_bill": {
        "en": "You have no unpaid bill.",
        "si": "ඔබට නොගෙවූ බිල්පත් නැත.",
        "ta": "செலுத்த வேண்டிய பில் எதுவும் இல்லை.",
    },
    "data": {
        "en": "{name}: {left} of {granted} MB left (as of {as_of}).",
        "si": "{name}: MB {granted}න් {left}ක් ඉතිරිය ({as_of} වන විට).",
        "ta": "{name}: {granted} MB இல் {left} மீதம் ({as_of} நிலவரம்).",
    },
    "valid_until": {
        "en": "Valid until {until}.",
        "si": "{until} දක්වා වලංගුයි.",
        "ta": "{until} வரை செல்லுபடியாகும்.",
    },
    "no_data": {
        "en": "You have no active data pack.",
        "si": "ඔබට ක්‍රියාත්මක ඩේටා පැකේජයක් නැත.",
        "ta": "செயலில் உள்ள டேட்டா பேக் எதுவும் இல்லை.",
    },
    "order": {
        "en": "Order {number}, {name}: {state}.",
        "si": "ඇණවුම {number}, {name}: {state}.",
        "ta": "ஆர்டர் {number}, {name}: {state}.",
    },
    "order_pending_payment": {
        "en": "waiting for payment",
        "si": "ගෙවීම බලාපොරොත්තුවෙන්",
        "ta": "கட்டணத்திற்குக் காத்திருக்கிறது",
    },
    "order_acknowledged": {"en": "accepted", "si": "පිළිගෙන ඇත", "ta": "ஏற்கப்பட்டது"},
    "order_completed": {
        "en": "completed, the service is active",
        "si": "සම්පූර්ණයි, සේවාව ක්‍රියාත්මකයි",
        "ta": "முடிந்தது, சேவை செயலில் உள்ளது",
    },
    "order_failed": {
        "en": "failed; what was paid goes back",
        "si": "අසාර්ථකයි; ගෙවූ මුදල ආපසු ලැබේ",
        "ta": "தோல்வி; செலுத்திய பணம் திரும்பக் கிடைக்கும்",
    },
    "order_cancelled": {"en": "cancelled", "si": "අවලංගුයි", "ta": "ரத்து செய்யப்பட்டது"},
    "no_order": {"en": "You have no orders.", "si": "ඔබට ඇණවුම් නැත.", "ta": "ஆர்டர் எதுவும் இல்லை."},
    "how_to_pay": {
        "en": "You can pay in the app by card, from your wallet, or with a saved card.",
        "si": "යෙදුමෙන් කාඩ්පතෙන්, පසුම්බියෙන් හෝ සුරැකි කාඩ්පතකින් ගෙවිය හැක.",
        "ta": "செயலியில் அட்டை, பணப்பை அல்லது சேமித்த அட்டை மூலம் செலுத்தலாம்.",
    },
    "pay_here": {
        "en": "You can pay bill {number} from your wallet right here: nothing is paid before you confirm it.",
        "si": "බිල්පත {number} ඔබේ පසුම්බියෙන් මෙතැනදීම ගෙවිය හැක: ඔබ තහවුරු කරන තුරු කිසිවක් නොගෙවේ.",
        "ta": "பில் {number} ஐ உங்கள் பணப்பையிலிருந்து இங்கேயே செலுத்தலாம்: நீங்கள் உறுதிசெய்யும் வரை எதுவும் செலுத்தப்படாது.",
    },
    "pay_link": {
        "en": "By card: {link}",
        "si": "කාඩ්පතෙන්: {link}",
        "ta": "அட்டை மூலம்: {link}",
    },
    "choose_offering": {
        "en": "Choose below what you would like. Nothing is ordered before you confirm it.",
        "si": "ඔබට අවශ්‍ය දේ පහතින් තෝරන්න. ඔබ තහවුරු කරන තුරු කිසිවක් ඇණවුම් නොවේ.",
        "ta": "வேண்டியதைக் கீழே தேர்ந்தெடுக்கவும். நீங்கள் உறுதிசெய்யும் வரை எதுவும் ஆர்டர் செய்யப்படாது.",
    },
    "use_the_button": {
        "en": "Please confirm with the button under my message: I cannot pay or order by myself.",
        "si": "කරුණාකර මගේ පණිවිඩයට පහළ බොත්තමෙන් තහවුරු කරන්න: මට තනිව ගෙවීමට හෝ ඇණවුම් කිරීමට නොහැක.",
        "ta": "என் செய்தியின் கீழுள்ள பொத்தானால் உறுதிசெய்யவும்: என்னால் தானாகச் செலுத்தவோ ஆர்டர் செய்யவோ முடியாது.",
    },
    "roaming": {
        "en": "No roaming pack is active. You find the packs for travelling under “roaming” in the app's catalogue.",
        "si": "රෝමිං පැකේජයක් ක්‍රියාත්මක නැත. ඒවා යෙදුමේ “roaming” යටතේ ඇත.",
        "ta": "ரோமிங் பேக் செயலில் இல்லை. செயலியின் பட்டியலில் “roaming” கீழ் காணலாம்.",
    },
    "roaming_on": {
        "en": "Active for roaming: {names}.",
        "si": "රෝමිං සඳහා ක්‍රියාත්මකයි: {names}.",
        "ta": "ரோமிங்கிற்குச் செயலில்: {names}.",
    },
    "hours": {
        "en": "Our people answer {hours} (Colombo time). I am here all the time.",
        "si": "අපගේ නියෝජිතයන් පිළිතුරු දෙන්නේ {hours} (කොළඹ වේලාව). මම සැමවිටම සිටිමි.",
        "ta": "எங்கள் பணியாளர்கள் பதிலளிக்கும் நேரம் {hours} (கொழும்பு). நான் எப்போதும் இருக்கிறேன்.",
    },
}


def say(phrase: str, language: str, **values: object) -> str:
    """A phrase in the language, English where there is none."""
    found = PHRASES[phrase]
    return found.get(language, found["en"]).format(**values)
