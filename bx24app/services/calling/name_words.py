"""The words of a name as a search compares them: without case, accents and signs."""

import re
import unicodedata

from bx24app.inputs import in_normal_form
from bx24app.models.callbacks.callback_word import MAX_WORD

# So many words of a name are found.
MAX_NAME_WORDS = 8
# Letters that Unicode does not take apart, as they are typed without them.
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, folded, each once and in their order; a long one is cut."""
    decomposed = in_normal_form("NFKD", text.casefold())
    folded = "".join(char for char in decomposed if not unicodedata.combining(char)).translate(_PLAIN)
    return list(dict.fromkeys(word[:MAX_WORD] for word in _WORD.findall(folded)))[:MAX_NAME_WORDS]
