"""Looking for secrets in what was written."""

import re


def tells(text: str, secret: str) -> bool:
    """Whether the secret stands in the text by itself: inside ids, digests and fractions of seconds its few digits come
    up by chance."""
    return re.search(rf"(?<![\w.-]){re.escape(secret)}(?![\w-])", text) is not None
