"""What a saved conversation may be called, and what it is called until somebody names it."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from itertools import count

from gemma_mlx.errors import StoreError

LONGEST = 100  # bytes of a name: file systems take 143 or more
_NAME = re.compile(r"w(?:[w .,@+-]*[w,@+-])?")  # of a name's outline
_WORDS, _LETTERS = 5, 32  # of the first message that become part of a name
_SUFFIX = 5  # bytes for a number


def is_name(name: str) -> bool:
    """Whether it is one visible directory on every file system."""
    return _NAME.fullmatch(_outline(name)) is not None and len(name.encode(errors="replace")) <= LONGEST


def checked(name: str) -> str:
    """The name in the spelling of its directory. Raises `StoreError` if it cannot be one."""
    name = unicodedata.normalize("NFC", name.strip())
    if not is_name(name):
        raise StoreError(
            f"{name!r} is no name for a conversation: up to {LONGEST} letters, digits, spaces and .,@+-_, a letter or "
            "digit first"
        )
    return name


def automatic(words: str, time: datetime) -> Iterator[str]:
    """Names for a conversation of that time that begins with `words`: the first that is free is meant."""
    words = unicodedata.normalize("NFC", words.lower().replace("'", ""))
    found = [words[slice(*word.span())] for word in re.finditer("w+", _outline(words))][:_WORDS]
    start = f"{time:%Y-%m-%d-%H%M}-{'-'.join(found)[:_LETTERS] or 'conversation'}"
    start = start.encode()[: LONGEST - _SUFFIX].decode(errors="ignore").rstrip("-")
    yield start
    yield from (f"{start}-{number}" for number in count(2))


def _outline(text: str) -> str:
    """The text with each character of a word as "w": letters, digits, "_", and the marks of many scripts that regular
    expressions count to no word. What cannot be in a name is "/"."""
    return "".join("w" if _is_of_word(char) else char if char in " .,@+-" else "/" for char in text)


def _is_of_word(char: str) -> bool:
    return char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")
