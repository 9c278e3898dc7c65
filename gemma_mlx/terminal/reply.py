"""A reply on a terminal while it comes: thoughts dimmed and then folded to a line, the answer as Markdown.

Finished blocks are printed for good, the one in progress is redrawn in place. Lines of others stand above the one in
progress. Knows events and a region of the screen.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.text import Text

from gemma_mlx.generation.events import BadCall, Event, Finished, Notice, TextDelta
from gemma_mlx.inputs.message import ToolCall
from gemma_mlx.terminal.markdown import Blocks, drawn, lines_of
from gemma_mlx.terminal.region import Region
from gemma_mlx.terminal.words import called, count, ending, unreadable, visible

READING = "reading …"
_FRAME = 0.03  # seconds between two drawings: more are not seen
_REST = 4.0  # times as long as the last drawing took: long blocks must not keep the interpreter from the model


class ReplyView:
    """Shows replies one after the other. `tokens` counts those of a text, `clock` gives seconds, `waiting` is the line
    before the first token, `asides` takes what others have to say meanwhile."""

    def __init__(
        self,
        console: Console,
        region: Region,
        tokens: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
        waiting: Callable[[], str] = lambda: READING,
        asides: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self.console, self.region, self.tokens, self.clock = console, region, tokens, clock
        self.waiting, self.asides = waiting, asides

    def show(self, events: Iterable[Event]) -> Finished | None:
        """Show a reply; how it ended, None if it never did. What was shown stays, after an exception as well."""
        self._blocks, self._thought, self._thinking_since = Blocks(), "", 0.0
        self._parted = True  # no blank line is owed before the next block
        self._draw_from = float("-inf")
        self._note_in_progress(self.waiting())
        finished = None
        try:
            for event in events:
                self._let_in(self.asides())
                self._take(event)
                if isinstance(event, Finished):
                    finished = event
                    break
        finally:
            self._end_text()
        for line in ending(finished) if finished else ():
            self._note(line)
        return finished

    def _let_in(self, lines: Iterable[str]) -> None:
        """Print lines above what is in progress, which is then drawn again, below them."""
        for line in lines:
            self._note(line)
            self._draw_from = float("-inf")

    def _take(self, event: Event) -> None:
        match event:
            case TextDelta(text, "thought"):
                if not self._thought:
                    self._end_text()
                    self._thinking_since = self.clock()
                self._thought += visible(text)
                self._draw(lambda: self._dimmed(self._thought))
            case TextDelta(text):
                if self._thought:
                    self._end_text()
                for block in self._blocks.push(visible(text)):
                    self._print(drawn(block, self.console, self.region.width))
                self._draw(self._open_block)
            case ToolCall():
                self._end_text()
                self._note(called(event))
            case BadCall():
                self._end_text()
                self._note(unreadable(event))
            case Notice():
                self._end_text()
                self._note(f"[{event.text}]")
            case Finished():
                pass

    def _open_block(self) -> Iterator[str]:
        lines = drawn(self._blocks.open, self.console, self.region.width)
        if lines and not self._parted:
            yield ""
        yield from lines

    def _draw(self, lines: Callable[[], Iterable[str]]) -> None:
        started = self.clock()
        if started >= self._draw_from:
            self.region.draw(list(lines()))
            ended = self.clock()
            self._draw_from = ended + max(_FRAME, _REST * (ended - started))

    def _end_text(self) -> None:
        """Fold the thought, print the blocks that were open."""
        self.region.draw([])
        if self._thought.strip():
            seconds, tokens = self.clock() - self._thinking_since, count(self.tokens(self._thought), "token")
            self._note(f"thought for {seconds:.0f} s, {tokens} (/think show)")
        self._thought = ""
        for block in self._blocks.finish():
            self._print(drawn(block, self.console, self.region.width))
        self._draw_from = float("-inf")

    def _print(self, block: list[str]) -> None:
        if block:
            self.region.print(block if self._parted else ["", *block])
            self._parted = False

    def _note(self, line: str) -> None:
        self.region.print(self._dimmed(line))
        self._parted = True

    def _note_in_progress(self, line: str) -> None:
        self.region.draw(self._dimmed(line))

    def _dimmed(self, text: str) -> list[str]:
        return lines_of(Text(visible(text), style="dim"), self.console, self.region.width)
