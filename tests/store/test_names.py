"""What conversations may be called."""

import os
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from gemma_mlx.errors import StoreError
from gemma_mlx.store.names import LONGEST, automatic, checked, is_name

TIME = datetime(2026, 11, 21, 9, 5)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "9",
        "Holiday in Rome, 2nd",
        "a.b",
        "name@home",
        "ünïcödé",
        "休日の写真",
        "_x",
        "a-",
        "हिन्दी में",
        "x" * LONGEST,
    ],
)
def test_names(name: str, tmp_path: Path) -> None:
    assert checked(f" {name} ") == name
    (tmp_path / name).mkdir()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", ".hidden", "-rf", "a/b", "/a", "a\\b", "a\nb", "a\0", "a.", "~", "a:b", "\ud800", "é" * 51],
)
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(StoreError, match="is no name for a conversation: up to 100 letters") as found:
        checked(name)
    assert "\n" not in str(found.value)


def test_one_spelling() -> None:
    assert checked("u\u0308") == "ü"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("What do you see?", "2026-11-21-0905-what-do-you-see"),
        ("What's THIS -- and why, oh why is it so?", "2026-11-21-0905-whats-this-and-why-oh"),
        ("", "2026-11-21-0905-conversation"),
        ("?!/..", "2026-11-21-0905-conversation"),
        ("/etc/passwd", "2026-11-21-0905-etc-passwd"),
        ("Grüß Gott", "2026-11-21-0905-grüß-gott"),
        ("x" * 1000, "2026-11-21-0905-" + "x" * 32),
        ("休" * 1000, "2026-11-21-0905-" + "休" * 26),
        ("हिन्दी में बात", "2026-11-21-0905-हिन्दी-में-बात"),
        ("a " + "b" * 29 + " c d", "2026-11-21-0905-a-" + "b" * 29),
        ("picture.png", "2026-11-21-0905-picture-png"),
    ],
)
def test_automatic_names(words: str, name: str) -> None:
    found = [*islice(automatic(words, TIME), 3)]
    assert found == [name, f"{name}-2", f"{name}-3"]
    assert all(checked(each) == each for each in found)
