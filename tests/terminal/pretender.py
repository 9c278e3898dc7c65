"""A conversation that only pretends, for tests of the loop and the terminal."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from gemma_mlx.errors import ContextError, InputError
from gemma_mlx.generation.events import Event, Finished, TextDelta


@dataclass
class Pretender:
    """Answers "A to B" to "B", remembers what was shown, and breaks where the text says so."""

    heard: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    dropping: bool = False
    attached: int = 1
    muted: bool = False

    def answer(self, text: str) -> Generator[Event, None, None]:
        if text == "too long" or (text == "full" and not self.dropping):
            raise ContextError("the prompt is too long: shorten it")
        self.heard.append(text)
        shown = ""
        try:
            if text == "think":
                yield TextDelta("a thought", "thought")
            for piece in ("A ", "to ", text):
                if piece == "hang":
                    raise KeyboardInterrupt
                shown += piece
                yield TextDelta(piece)
        finally:
            self.kept.append(shown)
            self.asked.append(text)
        yield Finished("stop", shown)

    def spoken(self) -> Generator[Event, None, None]:
        return self.answer("what was spoken")

    def mute(self, on: bool | None) -> bool:
        self.heard.append(f"[mute {on}]")
        self.muted = not self.muted if on is None else on
        return self.muted

    def push(self) -> None:
        self.heard.append("[push]")

    def retry(self) -> Generator[Event, None, None]:
        return self.answer(self.undo())

    def edit(self, text: str) -> Generator[Event, None, None]:
        self.undo()
        return self.answer(text)

    def exchange(self) -> tuple[str, str] | None:
        return (self.asked[-1], f"A to {self.asked[-1]}") if self.asked else None

    def undo(self) -> str:
        if not self.asked:
            raise InputError("nothing was asked yet: there is nothing to take back")
        return self.asked.pop()

    def attach(self, file: str) -> str:
        if not Path(file).exists():
            raise InputError(f"{file} does not exist: check the path")
        self.heard.append(f"[{Path(file).name}]")
        return f"{Path(file).name}: picture, 4 tokens"

    def look(self, words: str) -> str:
        self.heard.append(f"[screen {words}]")
        return f"{words or 'screen'}: picture, 4 tokens"

    def paste(self) -> str:
        self.heard.append("[paste]")
        return "clipboard: picture, 4 tokens"

    def drop(self) -> int:
        self.heard.append("[drop]")
        dropped, self.attached = self.attached, 0
        return dropped

    def new(self) -> str | None:
        self.heard.append("[new]")
        return "saved: as it was"

    def think(self, on: bool) -> None:
        self.heard.append(f"[think {on}]")

    def could_drop(self) -> bool:
        return bool(self.asked) and not self.dropping

    def make_room(self, drop: bool) -> None:
        self.dropping = drop

    def context(self) -> str:
        return f"dropping: {self.dropping}"

    def stats(self) -> str:
        return "figures"

    def save(self, name: str | None) -> str:
        return f"saved as {name}"

    def branch(self, name: str | None) -> str:
        return f"branched as {name}"
