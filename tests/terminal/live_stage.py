"""A chat beside a microphone that only pretends: `python -m tests.terminal.live_stage ORDERS [WORD …]`.

ORDERS is a named pipe; each line in it is done by a thread of its own: "wake", "say TEXT" or "hear LEVEL". Words:
"echo", "push" and "plain" (streams, not a terminal's prompt). What was spoken is answered like "slow", see `stage`.
"""

import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Literal

from gemma_mlx.commands.speaking import BARGED_IN
from gemma_mlx.errors import GemmaError
from gemma_mlx.generation.events import Event, Notice
from gemma_mlx.terminal.interactive import Interactive, silent_keys
from gemma_mlx.terminal.plain import LiveConsole
from gemma_mlx.terminal.repl import Repl, Surface
from gemma_mlx.terminal.spoken import Live
from gemma_mlx.terminal.status import Status, line
from tests.terminal.stage import Stage


@dataclass(frozen=True)
class Meter:
    """What is shown of the microphone."""

    state: Literal["listening", "hearing", "thinking", "answering"] = "listening"
    level_db: float = float("-inf")
    muted: bool = False


class LiveStage(Stage):
    """The conversation; "wait" waits before its first token, a push stops an answer, the third one fails."""

    meter = Meter()
    pushes = 0

    def answer(self, text: str) -> Generator[Event, None, None]:
        if text == "wait":
            time.sleep(0.8)
        before = self.pushes
        for event in super().answer(text):
            if self.pushes > before:
                yield Notice(BARGED_IN)
                return
            yield event

    def spoken(self) -> Generator[Event, None, None]:
        return self.answer("slow")

    def mute(self, on: bool | None) -> bool:
        self.meter = Meter(muted=not self.meter.muted if on is None else on)
        return self.meter.muted

    def push(self) -> None:
        self.pushes += 1
        if self.pushes == 3:
            raise GemmaError("the microphone is gone: plug it in")
        self.meter = Meter("hearing" if self.pushes % 2 else "listening")


def obey(orders: Path, stage: LiveStage, surface: Surface) -> None:
    with orders.open() as file:
        for order in file:
            word, _, rest = order.strip().partition(" ")
            if word == "wake":
                surface.wake()
            elif word == "say":
                surface.say(rest)
            else:
                stage.meter = Meter("hearing", float(rest))


def main(orders: str, *words: str) -> None:
    stage = LiveStage()
    surface: Surface
    if "plain" in words:
        surface = LiveConsole(sys.stdin, sys.stdout, sys.stderr)
    else:
        live = Live(lambda: stage.meter, "echo" in words, stage.push if "push" in words else None)
        surface = Interactive(
            None, lambda width: line(Status("demo", 12, 64, stage.last), width), lambda text: len(text.split()), live
        )
    Thread(target=obey, args=(Path(orders), stage, surface), daemon=True).start()
    repl = Repl(stage, surface, live=True, push_to_talk="push" in words)
    if "plain" in words:
        repl.run()
    else:
        with silent_keys():
            repl.run()
    print("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
