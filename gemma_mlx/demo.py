"""The guided tour of the built-in demo model: what is said to it, with which bundled files, and what should come.

Steps are values; `Scene` plays one in a conversation of its own. Knows chats and files: no terminal and no timing.
Source of the expected answers: the demo model is trained on them, see `tests/demo_model`.
"""

import json
import re
import shlex
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from gemma_mlx.chat import Chat
from gemma_mlx.generation.events import Event, Finished, Notice, TextDelta
from gemma_mlx.generation.sampling import Sampler
from gemma_mlx.inputs.attachment import open_attachment
from gemma_mlx.inputs.message import Message, Part, Text, ToolCall
from gemma_mlx.loading import Gemma
from gemma_mlx.tools.declaration import Tool, tool
from gemma_mlx.tools.loop import Result, run_tools

_GREEDY = Sampler(temperature=0)
_LONGEST = 200  # tokens of a reply: none that is right has as many
_DRAFTS = 3  # a round, whether it pays or not: how many are right is to be seen
_PLACE = re.compile(r"SAMPLES/([\w.]+)")  # of a bundled file in what a person would type


@tool
def get_weather(city: str) -> dict[str, object]:
    """Get the weather."""
    return {"degrees": 21, "sky": "sunny"}


@dataclass(frozen=True)
class Sample:
    """A bundled file."""

    name: str


@dataclass(frozen=True)
class Turn:
    """What is said, in the order in which the model reads it: text that is typed, and files. `expect`: the answer."""

    said: tuple[str | Sample, ...]
    expect: str


@dataclass(frozen=True)
class Step:
    """One ability. `happens`: what there is to see, in a line; `same`: what a person would type for the same answers,
    a command with the lines that go to it, or Python."""

    name: str
    happens: str
    same: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool[..., Any], ...] = ()
    think: bool = False

    def typed(self, samples: Path) -> str:
        """`same`, with the files where they are."""
        shell = self.same.startswith("gemma-mlx")

        def place(found: re.Match[str]) -> str:
            path = str(samples / found[1])
            return shlex.quote(path) if shell else path

        return _PLACE.sub(place, self.same)


_PYTHON = """import gemma_mlx as gm
{}
print(end.text)"""
STEPS = (
    Step(
        "talk",
        "A second question needs the first; only what is new is read.",
        "gemma-mlx chat --model demo --temperature 0\n> does it fit in 16 GB?\n> and with 8 GB?",
        (
            Turn(("does it fit in 16 GB?",), "In 4 bits the 12B takes about 7 GB. It is meant for a Mac with 16 GB."),
            Turn(("and with 8 GB?",), "With 8 GB it does not fit. With 32 GB even the 8-bit model does."),
        ),
    ),
    Step(
        "look",
        "A picture is read before you ask: 48 × 48 pixels are one token.",
        'gemma-mlx ask "what is this error?" -a SAMPLES/picture.png --model demo --temperature 0',
        (Turn((Sample("picture.png"), "what is this error?"), 'It says "E404".'),),
    ),
    Step(
        "listen",
        "Sound is read as it is: 40 ms are one token.",
        'gemma-mlx ask "transcribe this" -a SAMPLES/recording.wav --model demo --temperature 0',
        (Turn(("transcribe this", Sample("recording.wav")), "red 7 stop"),),
    ),
    Step(
        "both",
        "Nothing is typed: a spoken question about the picture.",
        _PYTHON.format(
            """chat = gm.Chat(gm.load("demo"))
chat.add(gm.Image.open("SAMPLES/picture.png"))  # reads it now
chat.add(gm.Audio.open("SAMPLES/question.wav"))
*_, end = chat.reply(sampler=gm.Sampler(temperature=0))"""
        ),
        (Turn((Sample("picture.png"), Sample("question.wav")), "404"),),
    ),
    Step(
        "act",
        "The model asks for a function, and answers from what it returns.",
        _PYTHON.format(
            """
@gm.tool
def get_weather(city: str) -> dict[str, object]:
    '''Get the weather.'''
    return {"degrees": 21, "sky": "sunny"}

chat = gm.Chat(gm.load("demo"), tools=[get_weather.declaration])
question, greedy = "what is the weather in Paris?", gm.Sampler(temperature=0)
*_, end = gm.run_tools(chat, question, greedy, tools=[get_weather])"""
        ),
        (Turn(("what is the weather in Paris?",), "It is 21 degrees and sunny in Paris."),),
        tools=(get_weather,),
    ),
    Step(
        "think",
        "A thought comes first, in a channel of its own.",
        'gemma-mlx ask "what is a drafter?" --think --model demo --temperature 0',
        (
            Turn(
                ("what is a drafter?",),
                "A drafter is a small model that guesses the next tokens. "
                "The large model checks them, so the answer stays the same.",
            ),
        ),
        think=True,
    ),
)


def samples_directory() -> Path:
    """Where the bundled files are."""
    return Path(str(files("gemma_mlx") / "assets" / "samples"))


@dataclass(frozen=True)
class _Drafted:
    """A chat, as `run_tools` wants it, that drafts in each round."""

    chat: Chat

    def reply(
        self, text: str | None = None, sampler: Sampler | None = None, *, max_tokens: int = 1024
    ) -> Generator[Event]:
        return self.chat.reply(text, sampler, max_tokens=max_tokens, draft_depth=_DRAFTS)

    def respond(self, call: ToolCall, result: Result) -> None:
        self.chat.respond(call, result)

    @property
    def unanswered(self) -> tuple[ToolCall, ...]:
        return self.chat.unanswered


class Scene:
    """One step, played in a conversation of its own: `say` each thing of a turn, then `reply`."""

    def __init__(self, gemma: Gemma, step: Step, samples: Path) -> None:
        self.gemma, self.step, self.samples = gemma, step, samples
        declared = [each.declaration for each in step.tools]
        self.chat = Chat(gemma, enable_thinking=step.think, tools=declared)

    def say(self, said: str | Sample) -> Part:
        """Add to the turn. A file is read at once, and so is the last answer where a turn begins, as `gemma-mlx chat`
        does while the person reads it."""
        if not self.chat.pending:
            self.chat.settle()
        part = Text(said) if isinstance(said, str) else self._opened(said)
        self.chat.add(part)
        return part

    def reply(self) -> Generator[Event]:
        """Answer the turn, with a `Finished` for each call and one at the end. Thoughts and what functions returned
        are notices: they are short here, and to be seen."""
        thought, told, chat = "", len(self.chat.history), _Drafted(self.chat)
        with closing(run_tools(chat, None, _GREEDY, tools=self.step.tools, max_tokens=_LONGEST)) as events:
            for event in events:
                if isinstance(event, TextDelta) and event.channel == "thought":
                    thought += event.text
                    continue
                if thought.strip():
                    yield Notice(f"thinks: {thought.strip()}")
                thought = ""
                yield from map(Notice, _returned(self.chat.history[told:]))
                told = len(self.chat.history)
                yield event

    def is_right(self, turn: Turn, ends: Sequence[Finished]) -> bool:
        """Whether the replies to a turn are what the tour is meant to show."""
        called = {call.name for end in ends for call in end.calls}
        wanted = {each.name for each in self.step.tools}
        thought = any(end.thinking for end in ends)
        return bool(ends) and ends[-1].text == turn.expect and called == wanted and thought == self.step.think

    def _opened(self, sample: Sample) -> Part:
        most = self.gemma.plan.knobs.image_tokens
        return open_attachment(self.samples / sample.name, max_soft_tokens=most, name=sample.name)


def _returned(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role == "tool":
            yield f"returns {message.text if message.value is None else json.dumps(dict(message.value))}"
