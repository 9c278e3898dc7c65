"""File names as people give them: typed, quoted, or dropped on a terminal. Knows names and suffixes: not contents."""

import os
import re
import shlex
from mimetypes import guess_type
from urllib.parse import unquote, urlsplit

from gemma_mlx.errors import InputError

_WORD = re.compile(r"""(?:\\.|'[^']*'|"[^"]*"|[^\s\\'"])+(?!\S)""")  # of a shell


def given(text: str) -> str:
    """The file that is meant: as written, or with the quotes and backslashes that a terminal adds to a dropped file."""
    text = text.strip()
    if not text:
        raise InputError("/attach needs a file: /attach picture.png")
    if text == "-":
        raise InputError("- is standard input, from which the chat reads your lines: give a file")
    if not os.path.exists(os.path.expanduser(text)) and len(words := _words(text)) == 1:
        text = words[0]
    return os.path.expanduser(text)


def dropped(line: str) -> list[str]:
    """The files of a line that holds nothing but names of pictures, recordings and videos; empty if it holds more."""
    if "\n" in line:
        return []
    for names in ([line], _words(line)):
        files = [os.path.expanduser(_of_address(name)) for name in names]
        if files and all(is_medium(file) for file in files):
            return files
    return []


def dropped_before(line: str) -> tuple[list[str], str]:
    """The pictures, recordings and videos that a line begins with, by their whole paths as a terminal writes them, and
    the text after them."""
    files: list[str] = []
    while word := _WORD.match(line):
        names = [_of_address(name) for name in _words(word[0])]
        if len(names) != 1 or not os.path.isabs(names[0]) or not is_medium(names[0]):
            break
        files += names
        line = line[word.end() :].lstrip()
    return files, line


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe
        return []


def _of_address(name: str) -> str:
    """`file:///a%20b` as a path."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def is_medium(file: str) -> bool:
    """Whether a file exists whose name is that of a picture, recording or video."""
    kind = (guess_type(file)[0] or "").partition("/")[0]
    return kind in ("image", "audio", "video") and os.path.isfile(file)
