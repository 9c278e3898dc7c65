"""The short texts that pictures show: 1 to 8 of 0-9 and A-Z, half of them at random, half like codes.

Which side a text is on is a matter of its checksum alone: a tenth of all texts is held out. Does not know pictures.
Source: written for this model.
"""

import random
import zlib

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTHS = {1: 6, 2: 9, 3: 18, 4: 24, 5: 18, 6: 13, 7: 6, 8: 6}
# 9 stands for any digit, X for any letter; the rest as it is
_CODES = (
    *("E999", "X9", "X99X", "X999", "XX99", "999", "9999", "99", "99999", "XXX9", "XX999", "X9999", "X9X9", "9X9X9X"),
    *("EXX99", "ERR9", "ERR99", "ERR999", "E99", "F9", "P9999", "C9999", "ERRXX", "999X", "99X99", "X99X99", "XXX999"),
    *("ERROR", "ERROR9", "FAIL", "STOP", "OK", "EXIT9", "EXIT99", "HTTP999", "CODE9", "CODE99", "WARN99", "BUG999"),
    *("XXXX9999", "X9999999", "999999", "9999999", "99999999", "ROOM99", "GATEX9", "BUS99", "VX9"),
    *("XXX", "XXXX", "XXXXX"),
)


def held_out(text: str) -> bool:
    """Whether `text` is never trained with."""
    return zlib.crc32(text.encode()) % 10 == 0


def draw(rng: random.Random, split: str, longest: int = 8) -> str:
    """A text of the split "train" or "held_out", of up to `longest` characters."""
    while True:
        text = _random(rng) if rng.random() < 0.5 else _code(rng)
        if len(text) <= longest and held_out(text) == (split == "held_out"):
            return text


def _random(rng: random.Random) -> str:
    (length,) = rng.choices(tuple(_LENGTHS), tuple(_LENGTHS.values()))
    return "".join(rng.choices(CHARACTERS, k=length))


def _code(rng: random.Random) -> str:
    letters = {"9": CHARACTERS[:10], "X": CHARACTERS[10:]}
    return "".join(rng.choice(letters.get(character, character)) for character in rng.choice(_CODES))
