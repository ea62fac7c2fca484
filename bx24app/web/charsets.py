"""Bytes that programs of others send, as text: they may name their charset, mark it, or do neither."""

import codecs
import encodings
import pkgutil
import re
from encodings.aliases import aliases

_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The charsets of the web (encoding.spec.whatwg.org) by Python's names; others of Python's codecs are no charsets.
_OF_THE_WEB = re.compile(
    r"utf-8|utf-16(-[lb]e)?|ascii|iso8859-\d+|cp125\d|cp866|koi8-[ru]|mac-(roman|cyrillic)"
    r"|gbk|gb2312|gb18030|big5|euc_(jp|kr)|shift_jis|cp932|cp949|iso2022_jp|tis-620"
)
# Modules of Python's codecs by every name for them. Python is never asked for any other name: it remembers each that it
# does not know for as long as the process lives, and strangers name charsets.
_MODULES = {one.name: one.name for one in pkgutil.iter_modules(encodings.__path__)} | aliases
_LONGEST_NAME = max(map(len, _MODULES))
_CYRILLIC = frozenset({"ru", "ua", "uk", "by", "be", "kz", "kk", "bg"})
# A document or a picture holds these, a text does not.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x7f]")


def known_charset(name: str | None) -> str | None:
    """Return Python's name of a charset of the web; None for any other name."""
    if not name or len(name) > _LONGEST_NAME:
        return None
    name = encodings.normalize_encoding(name.lower())
    module = _MODULES.get(name) or _MODULES.get(name.replace(".", "_"))
    try:
        found = codecs.lookup(module).name if module else ""
    except LookupError:  # Some modules are of another system, or no codec.
        return None
    return found if _OF_THE_WEB.fullmatch(found) else None


def decode_file(data: bytes, charset: str | None, language: str) -> str:
    """Decode a text file: by its byte order mark, else by ``charset`` where it is named and fits, else as UTF-8.

    Whatever is neither is in the charset that Windows uses for ``language``. Raises ``ValueError`` for what is no text.
    """
    for mark, marked in _ORDER_MARKS:
        if data.startswith(mark):
            return data.removeprefix(mark).decode(marked)
    for name in (known_charset(charset), "utf-8"):
        try:
            return data.decode(name or "utf-8")
        except UnicodeDecodeError:
            continue
    text = data.decode("cp1251" if language.casefold() in _CYRILLIC else "cp1252", "replace")
    if _NOT_TEXT.search(text):
        raise ValueError("not a text")
    return text


# Charsets in which not every byte is a character, so that bytes that fit prove their name.
_MULTIBYTE = ("gb", "big5", "euc", "shift", "cp9", "iso2022")
# Three letters in a row that are no ASCII: in the charset for western languages words do not look so.
_CYRILLIC_WORD = re.compile(rb"[\xa8\xb8\xc0-\xff]{3}")
# Half of a character that a script has cut in two (a surrogate).
_HALF_CHARACTER = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# As browsers read these names (encoding.spec.whatwg.org).
_WIDER = {"ascii": "cp1252", "iso8859-1": "cp1252"}


def charset_of(data: bytes, named: str | None, language: str) -> str:
    """Find in which charset a request is written; decode it with ``errors="ignore"``.

    Programs name charsets that they do not use, and forget to name the ones they do. What is UTF-8, but for a broken
    character, is UTF-8 whatever is named. Else the name counts, and without one what Windows uses for ``language``.
    """
    for mark, marked in _ORDER_MARKS:
        if data.startswith(mark):
            # These codecs leave out the mark.
            return "utf-8-sig" if marked == "utf-8" else marked.rpartition("-")[0]
    name = known_charset(named) or ""
    if name.startswith(_MULTIBYTE) and _fits(data, name):
        return name
    text = _HALF_CHARACTER.sub(b"", data).decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if not broken or sum(char > "\x7f" for char in text) >= 2 * broken:
        return "utf-8"
    if name and not name.startswith(("utf", *_MULTIBYTE)):
        return _WIDER.get(name, name)
    return "cp1251" if language.casefold() in _CYRILLIC or _CYRILLIC_WORD.search(data) else "cp1252"


def _fits(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True
