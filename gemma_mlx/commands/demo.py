"""`gemma-mlx demo`: a guided minute on the built-in model, for people, or as JSON for programs.

What is said and what should be answered is in `gemma_mlx.demo`; here it is shown.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gemma_mlx.commands import shared
from gemma_mlx.options import Settings, large_model_fits

if TYPE_CHECKING:
    from gemma_mlx.demo import Step, Turn
    from gemma_mlx.generation.events import Event, Finished
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma

EXAMPLES = """Examples:

\b
  gemma-mlx demo
  gemma-mlx demo --fast
  gemma-mlx demo --step look
  gemma-mlx demo --json

Exit status: 1 if an answer is not the expected one, 0 otherwise."""

_PAUSE, _KEY = 2.0, 0.03  # seconds before a step and for each typed character
_INTRODUCTION = """A model of a few MB with every part of Gemma 4 12B, live on this machine. Below each answer: \
✓ if it is the expected one; tokens of the prompt, and those of them that were read ahead, before the question was \
complete; seconds to the first word; speed; how many of the drafter's tokens were right."""


def demo(
    step: Annotated[
        Literal["talk", "look", "listen", "both", "act", "think"] | None,
        typer.Option(help="Show only this.", show_default=False),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Make no pauses; there are none in a pipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each step instead.")] = False,
) -> None:
    """See in a minute what the model can do, on a tiny built-in one."""
    from gemma_mlx.demo import STEPS, samples_directory
    from gemma_mlx.models import DEMO, find_model

    settings = Settings(model=str(find_model(DEMO)))  # by its directory: what it is need not be said once more
    prepared, samples = settings.prepare(), samples_directory()
    chosen = [each for each in STEPS if step in (None, each.name)]
    started = time.perf_counter()
    with settings.loaded(prepared, shared.console()) as gemma:
        if as_json:
            right = [_print_json(gemma, each, samples, started) for each in chosen]
        else:
            right = _tour(gemma, chosen, samples, _wait(fast))
    if not all(right):
        raise typer.Exit(1)


def _wait(fast: bool) -> Callable[[float], object]:
    """What a pause is."""
    return time.sleep if sys.stdout.isatty() and not fast else lambda seconds: None


def _print_json(gemma: "Gemma", step: "Step", samples: Path, started: float) -> bool:
    """One line: the turns of a step, each with its replies as `ask --json` has them. Whether all is as expected."""
    from gemma_mlx.demo import Scene
    from gemma_mlx.generation.events import Finished
    from gemma_mlx.terminal.plain import result

    scene, turns = Scene(gemma, step, samples), list[dict[str, Any]]()
    load_s = time.perf_counter() - started
    for turn in step.turns:
        for said in turn.said:
            scene.say(said)
        ends = [event for event in scene.reply() if isinstance(event, Finished)]
        replies = [result(end, load_s, {"calls": [vars(call) for call in end.calls]}) for end in ends]
        turns.append({**_said(turn), "expected": turn.expect, "right": scene.is_right(turn, ends), "replies": replies})
    right = all(turn["right"] for turn in turns)
    print(json.dumps({"step": step.name, "right": right, "turns": turns}), flush=True)
    return right


def _said(turn: "Turn") -> dict[str, Any]:
    """Text and files of a turn."""
    text = "".join(said for said in turn.said if isinstance(said, str))
    return {"prompt": text, "files": [said.name for said in turn.said if not isinstance(said, str)]}


def _tour(gemma: "Gemma", steps: "list[Step]", samples: Path, wait: Callable[[float], object]) -> list[bool]:
    """Show the steps, and what to do next after all of them. Whether the answers of each turn are as expected."""
    from gemma_mlx.demo import STEPS, Scene

    stage, right = _Stage(gemma, wait), list[bool]()
    whole = len(steps) == len(STEPS)
    if whole:
        stage.say(_INTRODUCTION)
    for number, step in enumerate(steps, 1):
        title = f"{step.name}: {step.happens}"
        if whole:
            wait(_PAUSE)
            title = f"\n{number}/{len(steps)} {title}"
        stage.say(title, "bold")
        stage.say_as_is(step.typed(_near(samples)))
        scene = Scene(gemma, step, samples)
        for turn in step.turns:
            stage.say("")
            for said in turn.said:
                begun = time.perf_counter()
                stage.tell(scene.say(said), begun)
            with closing(scene.reply()) as events:
                ends = stage.replies(events)
            right.append(scene.is_right(turn, ends))
            if not right[-1]:
                stage.say(f"✗ expected: {turn.expect}", "red")
            stage.say(f"{'✓' if right[-1] else ' '} {_figures(ends[-1])}", "dim")
    if whole:
        stage.say(f"\n{sum(right)} of {len(right)} answers are as expected. What next:", "bold")
        stage.say_as_is("\n".join(_next(all(right))))
    return right


def _near(directory: Path) -> Path:
    """The directory as it is named from here, if it lies below."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory


def _figures(end: "Finished") -> str:
    """What a reply took, in a line."""
    usage, timing, draft = end.usage, end.timing, end.draft
    drafts = f"drafts {draft.accepted} of {draft.drafted}" if draft.drafted else "no drafts"
    read = f"read {usage.prompt_tokens:,} tokens, {usage.cached_tokens:,} ahead"
    return f"{read} · first word {timing.ttft_s:.2f} s · {timing.decode_tok_s:.0f} tokens/s · {drafts}"


def _next(right: bool) -> Iterator[str]:
    """Commands to go on with on this machine, a line each."""
    from gemma_mlx.models import DEFAULT, pulled_model

    if pulled_model(DEFAULT) is not None:
        yield "gemma-mlx chat      talk with Gemma 4 12B, which is here already"
    elif large_model_fits():
        yield "gemma-mlx pull      fetch Gemma 4 12B, which fits this machine"
        yield "gemma-mlx plan      what it takes here, and how long a context may be"
    else:
        yield "gemma-mlx plan      what this machine is too small for, and what would be enough"
    yield f"gemma-mlx doctor    {'check' if right else 'find out what is wrong with'} machine, packages and files"


class _Stage:
    """Standard output: drawn at a terminal, plain lines elsewhere."""

    def __init__(self, gemma: "Gemma", wait: Callable[[float], object]) -> None:
        from rich.console import Console

        from gemma_mlx.terminal import plain
        from gemma_mlx.terminal.region import Region
        from gemma_mlx.terminal.reply import ReplyView

        self._console, self._wait = Console(highlight=False, markup=False), wait
        self._view: ReplyView | plain.Console = plain.Console(input, sys.stdout, sys.stdout)
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb"):
            count = gemma.tokenizer.encode
            region = Region(sys.stdout, shutil.get_terminal_size)
            self._view = ReplyView(self._console, region, lambda text: len(count(text)))

    def say(self, line: str, style: str = "") -> None:
        """A line, broken between words."""
        self._console.print(line, style=style or None)

    def say_as_is(self, lines: str) -> None:
        """Lines to copy: indented, and broken by nothing but the end of the screen."""
        for line in lines.splitlines():
            self._console.print(f"  {line}".rstrip(), style="cyan", soft_wrap=True)

    def tell(self, part: "Part", begun: float) -> None:
        """What was said: text as if it were typed, a file as what it is and how long it took to read since `begun`."""
        from gemma_mlx.inputs.message import Text
        from gemma_mlx.terminal.words import describe

        if isinstance(part, Text):
            self._type(part.text)
        else:
            self.say(f"{describe(part)}, read in {time.perf_counter() - begun:.2f} s", "dim")

    def replies(self, events: "Iterator[Event]") -> "list[Finished]":
        """Show replies up to the one that calls nothing; their ends. What the earlier ones took is told as well."""
        ends: list[Finished] = []
        while (end := self._view.show(events)) is not None:
            ends.append(end)
            if not end.calls:
                break
            self.say(f"  {_figures(end)}", "dim")
        return ends

    def _type(self, text: str) -> None:
        try:
            for character in f"> {text}":
                print(character, end="", flush=True)
                self._wait(_KEY)
        finally:
            print(flush=True)
