"""Text from outside -> text in which a chat template cannot find or make a control token, and back.

Each character that could start a control token is followed by a mark, a private-use character that occurs nowhere else;
the marks are taken out of what the template prints before it is tokenized. A text can so neither spell a control token
nor end a string that the template puts between two of them.
Knows no roles and no template.
"""

import re
from collections.abc import Iterable

from gemma_mlx.inputs.json_values import with_strings

_PRIVATE_USE = range(0xF0000, 0x10FFFE)


def first_characters(literals: Iterable[str]) -> re.Pattern[str]:
    """Matches each character that some literal begins with."""
    return re.compile(f"[{re.escape(''.join({literal[0] for literal in literals}))}]")


class Marking:
    """The marks for one prompt. `joint` is another character that occurs nowhere, for the caller to use."""

    def __init__(self, heads: re.Pattern[str], texts: Iterable[str]) -> None:
        """`heads` matches what has to be marked; `texts` is everything that may be marked."""
        used: set[str] = set().union(*texts)
        unused = (char for char in map(chr, _PRIVATE_USE) if char not in used)
        self._mark, self.joint = next(unused), next(unused)
        self._heads = heads

    def text(self, text: str) -> str:
        """The text with its marks."""
        return self._heads.sub(lambda head: head[0] + self._mark, text)

    def value(self, value: object) -> object:
        """A copy of a JSON value in which every string and every key is marked."""
        return with_strings(value, self.text)

    def removed(self, text: str) -> str:
        """The text as it was, without marks and joints."""
        return text.replace(self._mark, "").replace(self.joint, "")
