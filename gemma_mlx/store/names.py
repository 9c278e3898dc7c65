"""What a saved conversation may be called, and what it is called until somebody names it."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from itertools import count

from gemma_mlx.errors import StoreError

LONGEST = 100  # bytes of a name: file systems take 255, and a hidden twin is longer
_NAME = re.compile(r"\w(?:[\w .,@+-]*[\w,@+-])?")
_WORDS, _LETTERS = 5, 32  # of the first message that become part of a name


def is_name(name: str) -> bool:
    """Whether it is one visible directory on every file system."""
    return _NAME.fullmatch(name) is not None and len(name.encode(errors="replace")) <= LONGEST


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
    found = re.findall(r"\w+", unicodedata.normalize("NFC", words.lower().replace("'", "")))[:_WORDS]
    start = f"{time:%Y-%m-%d-%H%M}-{'-'.join(found)[:_LETTERS] or 'conversation'}".rstrip("-")
    yield start
    yield from (f"{start}-{number}" for number in count(2))
