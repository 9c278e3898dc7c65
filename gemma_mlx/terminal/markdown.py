"""Markdown that is still being written: cut into finished blocks, each drawn as lines for a terminal.

Blocks are those of CommonMark with tables. Nothing that the model wrote is hidden: HTML and definitions of links are
text, addresses are shown, line breaks stay where they are. Knows text and a width: no cursor.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markdown import Markdown

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_STYLES = re.compile(r"\x1b\[[\d;]*m")


class Blocks:
    """Text as it grows, without control characters, cut where a top-level block has ended for good: once the next one
    has begun."""

    def __init__(self) -> None:
        self.open = ""  # the block that may still change

    def push(self, text: str) -> list[str]:
        """Blocks that have ended with `text`."""
        self.open += text
        if "\n" not in text:
            return []
        whole, _, begun = self.open.rpartition("\n")
        ended = split(whole)[:-1]  # what comes next can still belong to the last one, and turn it into something else
        if ended:
            self.open = (whole + "\n" + begun)[sum(map(len, ended)) :]
        return ended

    def finish(self) -> list[str]:
        """The blocks that were open."""
        rest, self.open = self.open, ""
        return split(rest)


def split(text: str) -> list[str]:
    """The top-level blocks of a text, each with the blank lines around it; joined they are the text, if not blank."""
    lines = _LINE.findall(text)
    starts = [token.map[0] for token in _parser().parse(text) if token.level == 0 and token.map]
    if not starts:
        return []
    return ["".join(lines[start:stop]) for start, stop in pairwise([0, *starts[1:], len(lines)])]


def drawn(block: str, console: Console, width: int) -> list[str]:
    """The lines of a block, at most `width` cells wide, with the styles of `console`."""
    # Links show their address: a name must not hide where it leads. The theme has the terminal's own colours.
    page = Markdown("", hyperlinks=False, code_theme="ansi_dark")
    page.parsed = _parser().parse(block)
    _keep_line_breaks(page.parsed)
    return lines_of(page, console, width)


def lines_of(content: RenderableType, console: Console, width: int) -> list[str]:
    """The lines of anything that rich can print; no blank ones at either end, no spaces at the end of one."""
    with console.capture() as captured:
        console.print(content, width=width)
    lines = [line.rstrip() for line in captured.get().split("\n")]
    inked = [number for number, line in enumerate(lines) if _STYLES.sub("", line).strip()]
    return lines[inked[0] : inked[-1] + 1] if inked else []


def cells(line: str) -> int:
    """How many cells of a terminal a drawn line takes."""
    return cell_len(_STYLES.sub("", line))


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return parser.disable(["reference", "image"])  # a picture would be drawn without its address


def _keep_line_breaks(tokens: Iterable[Token]) -> None:
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        _keep_line_breaks(token.children or ())
