"""Words of a text, for searching."""

import re
from typing import Final

_WORD: Final = re.compile(r"\w+")
_MOST: Final = 16


def words_of(text: str) -> list[str]:
    """Take a search apart: words in lower case, sixteen at most."""
    return _WORD.findall(text.lower())[:_MOST]


def says(text: str | None, words: str) -> int:
    """Whether each word, in lower case and apart by spaces, begins a word of the text: `onereel_says` of SQLite."""
    said = _WORD.findall((text or "").lower())
    return int(all(any(each.startswith(word) for each in said) for word in words.split()))
