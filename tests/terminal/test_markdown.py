"""Markdown as it is written: cut into blocks at the right places, whatever the pieces; nothing is hidden."""

import random
import re

import pytest
from rich.console import Console

from gemma_mlx.terminal.markdown import Blocks, cells, drawn, split

DOCUMENTS = (
    "# Title\n\nSome *words*.\nMore.\n\n- one\n\n- two\n  - three\n\n    inside\n\n1. a\n2. b\n\nlast",
    "```py\nx = 1\n\ny = 2\n```\nafter\n~~~\n# no title\n~~~\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\nlazily\n\n---\n\nTitle\n=====\ntext\n***\n",
    "text\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    "\n\n    indented\n\n    code\n\ntext",
    "```\nnever closed\n\n- not a list",
    "[1]: http://a.b\n\n<div>\nhello\n\n</div>\n\n[1]: http://c.d\n\n",
    "- a\n\n\n\nb\n\n* c\n* d\n+ e",
    "one\n#two\n#three\n#four\n-five\n>six\n\n1\n#7\n",
    "one line",
    "\n",
    "",
    "夜\u2028は\u2029暗\n\nく",
)
PLAIN = Console(width=80, color_system=None, highlight=False)


def streamed(text: str, cuts: random.Random) -> list[str]:
    """The blocks of a text that comes in pieces of any length."""
    blocks, found, at = Blocks(), [], 0
    while at < len(text):
        length = cuts.choice((1, 2, 3, 7, 30))
        found += blocks.push(text[at : at + length])
        at += length
    return found + blocks.finish()


@pytest.mark.parametrize("text", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_the_pieces_do_not_matter(text: str) -> None:
    for seed in range(8):
        assert streamed(text, random.Random(seed)) == split(text)


def test_the_pieces_do_not_matter_for_shuffled_lines() -> None:
    lines = [line for text in DOCUMENTS for line in text.split("\n")]
    for seed in range(60):
        rng = random.Random(seed)
        text = "\n".join(rng.choices([*lines, "", "", "  "], k=12))
        assert streamed(text, rng) == split(text)


@pytest.mark.parametrize("text", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_the_blocks_together_are_the_text(text: str) -> None:
    assert "".join(split(text)) == (text if text.strip() else "")


def test_a_block_is_given_out_as_soon_as_the_next_one_has_begun() -> None:
    blocks = Blocks()
    assert blocks.push("one\n\n") == []
    assert blocks.push("two") == []
    assert blocks.push("\n") == ["one\n\n"]
    assert blocks.open == "two\n"
    assert blocks.finish() == ["two\n"]
    assert blocks.finish() == []


@pytest.mark.parametrize("width", [1, 2, 5, 12, 40, 80])
@pytest.mark.parametrize("text", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_no_line_is_wider_than_the_screen(text: str, width: int) -> None:
    for block in split(text):
        assert all(cells(line) <= max(width, 2) for line in drawn(block, PLAIN, width))  # 夜 needs two


@pytest.mark.parametrize("text", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_every_word_is_drawn(text: str) -> None:
    shown = " ".join(line for block in split(text) for line in drawn(block, PLAIN, 80))
    for word in re.findall(r"\w+", text.replace("```py", "```")):
        assert word in shown


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        ("a\nb  \nc", ["a", "b", "c"]),
        ("<b>bold</b> &amp; &#65;", ["<b>bold</b> & A"]),
        ("<div>\nhtml\n</div>", ["<div>", "html", "</div>"]),
        ("[name](http://a.b)", ["name (http://a.b)"]),
        ("![name](http://a.b)", ["!name (http://a.b)"]),
        ("[1]: http://a.b", ["[1]: http://a.b"]),
        ("- a\n  b", [" • a", "   b"]),
        ("3. a\n4. b", [" 3 a", " 4 b"]),
        ("", []),
    ],
)
def test_what_a_block_looks_like(block: str, lines: list[str]) -> None:
    assert drawn(block, PLAIN, 40) == lines


def test_no_entity_becomes_a_control_character() -> None:
    for code in [*range(0x20), *range(0x7F, 0xA0)]:
        if chr(code) not in "\t\n":
            (line,) = drawn(f"a&#{code};b&#x{code:x};[c](http://d&#{code};)", PLAIN, 80)
            assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


def test_styles_take_no_cells() -> None:
    (line,) = drawn("**bold**", Console(force_terminal=True, color_system="standard", highlight=False), 40)
    assert "\x1b[1m" in line
    assert cells(line) == 4
    assert cells("夜") == 2
