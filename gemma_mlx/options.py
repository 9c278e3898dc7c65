"""The options that every command of `gemma-mlx` shares, and what they make: a model, a conversation, attachments.

Knows options and their ranges: not commands, streams or exit statuses. Everything heavy is imported inside.
"""

import dataclasses
import math
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gemma_mlx.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat, WhenFull
    from gemma_mlx.generation.events import Event
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.inputs.attachment import Reading
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma, Prepared
    from gemma_mlx.terminal.plain import Console

MODEL_VARIABLE = "GEMMA_MLX_MODEL"
STDIN = "standard input"
DEMO_NOTICE = "this is the built-in demo model, a toy of a few MB"


def _above_zero(value: float | None) -> float | None:
    """Ranges of options include their ends; this leaves out zero, and infinity."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("expected a number above 0")
    return value


def _positions(value: str | None) -> str | None:
    """A whole number above zero, or auto."""
    if value is not None and value != "auto" and not re.fullmatch(r"0*[1-9][0-9]{0,8}", value):
        raise typer.BadParameter("expected auto or a whole number above 0")
    return value


def _depth(value: str) -> str:
    """A number of drafts, or auto."""
    from gemma_mlx.generation.depth import MOST

    if value not in ("auto", *map(str, range(MOST + 1))):
        raise typer.BadParameter(f"expected auto or a whole number from 0 to {MOST}")
    return value


def _picture_tokens(value: str) -> str:
    """One of the published sizes, or auto."""
    if value not in ("auto", "70", "140", "280", "560", "1120"):
        raise typer.BadParameter("expected auto, 70, 140, 280, 560 or 1120")
    return value


def _size(value: str | None) -> str | None:
    """A size with its unit."""
    from gemma_mlx.memory.sizes import parse_size

    try:
        if value is not None:
            parse_size(value)
    except ConfigError as fault:
        raise typer.BadParameter(str(fault)) from None
    return value


ModelOption = Annotated[
    str | None,
    typer.Option(
        envvar=MODEL_VARIABLE,
        metavar="NAME|DIR",
        help="A pulled model, a directory or a Hub id; without: the pulled 12B, or the demo.",
        show_default=False,
    ),
]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(help="Type of activations; auto: float32 on a CPU, as stored on a GPU."),
]
ContextOption = Annotated[
    str,
    typer.Option(metavar="N|auto", callback=_positions, help="Tokens that a conversation may hold; auto: what fits."),
]
ImageTokensOption = Annotated[
    str,
    typer.Option(
        metavar="auto|70|140|280|560|1120",
        callback=_picture_tokens,
        help="Most tokens of a picture; auto: 280, 560 or 1120, as its text needs and memory allows.",
    ),
]
DraftOption = Annotated[
    str,
    typer.Option(
        metavar="auto|off|NAME|DIR",
        help="The drafter; auto: the one that belongs to the model, if there is memory for it.",
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        callback=_size,
        help="Plan for so much memory (16GB) instead of this machine's.",
        show_default=False,
    ),
]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options that `ask` and `chat` share, as typed. None: what the model's own files say."""

    model: ModelOption = None
    dtype: DtypeOption = "auto"
    draft: DraftOption = "auto"
    draft_depth: Annotated[
        str,
        typer.Option(metavar="auto|0..8", callback=_depth, help="Tokens drafted a round; auto: as many as pay off."),
    ] = "auto"
    context: ContextOption = "auto"
    memory: MemoryOption = None
    wire: Annotated[bool, typer.Option("--wire", help="Pin the weights in memory while the program runs.")] = False
    system: Annotated[str | None, typer.Option(help="Instruction that precedes the conversation.")] = None
    think: Annotated[bool, typer.Option("--think/--no-think", help="Let the model think before it answers.")] = False
    image_tokens: ImageTokensOption = "auto"
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="N", callback=_above_zero, help="Frames read of each second of a video; without: 32 in all."
        ),
    ] = None
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most frames of a video; 60 with --fps if not given.")
    ] = None
    no_sound: Annotated[bool, typer.Option("--no-sound", help="Leave out the sound of videos.")] = False
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Longest reply.")] = 1024
    temperature: Annotated[
        float | None, typer.Option(min=0, max=100, metavar="T", help="0 takes the likeliest token.")
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(max=1, metavar="P", callback=_above_zero, help="Draw from the likeliest tokens of this share."),
    ] = None
    top_k: Annotated[int | None, typer.Option(min=0, metavar="K", help="Draw from the K likeliest tokens.")] = None
    min_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="P", help="Drop tokens below this share of the likeliest's probability."),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, max=2**64 - 1, metavar="N", help="Draw the same tokens again.")] = (
        None
    )
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End the answer before this text; repeatable.")
    ] = None

    def sampler(self, default: "Sampler") -> "Sampler":
        """The model's own sampling, changed where an option was given."""
        given = {name: getattr(self, name) for name in ("temperature", "top_p", "top_k", "min_p", "seed")}
        return dataclasses.replace(default, **{name: value for name, value in given.items() if value is not None})

    def prepare(self) -> "Prepared":
        """The model that is meant and its memory plan; no weight is read yet."""
        from gemma_mlx.loading import LoadOptions, prepare
        from gemma_mlx.memory.sizes import parse_size
        from gemma_mlx.models import DEMO, default_model

        options = LoadOptions(
            dtype=self.dtype,
            context=None if self.context == "auto" else int(self.context),
            image_tokens=None if self.image_tokens == "auto" else int(self.image_tokens),
            draft=self.draft,
            memory=None if self.memory is None else parse_size(self.memory),
        )
        source = default_model() or DEMO if self.model is None else self.model
        return prepare(source, options)

    @contextmanager
    def loaded(
        self, prepared: "Prepared", console: "Console", check: Callable[[], None] = lambda: None
    ) -> Iterator["Gemma"]:
        """The model, within its memory limits; a note on stderr if it is the demo or if memory is short. `check` is
        called while it is loaded, and may raise."""
        from gemma_mlx.device import memory_limits
        from gemma_mlx.loading import load
        from gemma_mlx.models import DEMO, find_model
        from gemma_mlx.progress import byte_bar

        if prepared.directory == find_model(DEMO) and self.model in (None, DEMO):
            console.say(demo_notice())
        for line in (*prepared.plan.given_up, *prepared.plan.warnings):
            console.say(line)
        with memory_limits(prepared.plan, prepared.weights_bytes, wire=self.wire):
            with byte_bar("loading", console.err) as progress:

                def checked(done: int, total: int) -> None:
                    check()
                    progress(done, total)

                gemma = load(prepared, progress=checked)
            yield gemma

    def chat(self, gemma: "Gemma", when_full: "WhenFull" = "stop") -> "Chat":
        from gemma_mlx.chat import Chat

        return Chat(gemma, self.system, enable_thinking=self.think, when_full=when_full)

    def reply(self, chat: "Chat", text: str | None = None) -> Generator["Event", None, None]:
        """The chat's answer to its open turn, closed with `text`."""
        sampler, stop, depth = self.sampler(chat.gemma.sampler), self.stop or (), self._drafts
        return chat.reply(text, sampler, max_tokens=self.max_tokens, stop=stop, draft_depth=depth)

    def retry(self, chat: "Chat") -> Generator["Event", None, None]:
        """Another answer of the chat to the last question."""
        sampler, stop, depth = self.sampler(chat.gemma.sampler), self.stop or (), self._drafts
        return chat.regenerate(sampler, max_tokens=self.max_tokens, stop=stop, draft_depth=depth)

    @property
    def _drafts(self) -> int | None:
        return None if self.draft_depth == "auto" else int(self.draft_depth)

    def attachment(
        self, file: str, prepared: "Prepared", room: int, notice: Callable[[str], None]
    ) -> "tuple[Part, ...]":
        """A picture, recording or video from a file, or from standard input for "-", as large as the plan allows.

        A video comes with its sound if both, and a reply, fit into `room` tokens; `notice` is told where they do not.
        """
        from gemma_mlx.inputs.attachment import open_attachments

        if not file:
            raise InputError("an attachment has no name: give a file")
        reading = self.reading(prepared, room)
        source = sys.stdin.buffer.read() if file == "-" else os.path.expanduser(file)
        return open_attachments(source, reading, notice=notice, name=STDIN if file == "-" else None)

    def reading(self, prepared: "Prepared", room: int, rate: float | None = None) -> "Reading":
        """How attachments are read with `room` tokens left for them and a reply; `rate`: tokens read in a second."""
        from gemma_mlx.inputs.attachment import Reading
        from gemma_mlx.inputs.detail import BUDGETS, Limits
        from gemma_mlx.memory.guard import largest_picture

        plan, left = prepared.plan, max(0, room - min(self.max_tokens, room // 4))
        limits = None
        if self.image_tokens == "auto":
            read = max(0, plan.knobs.context - room)
            limits = Limits(left, largest_picture(prepared.sizes, plan, read, BUDGETS))
        return Reading(
            plan.knobs.image_tokens,
            self.fps,
            self.max_frames,
            sound=not self.no_sound and prepared.config.audio_config is not None,
            most_tokens=left,
            limits=limits,
            rate=rate,
        )


def demo_notice() -> str:
    """What the demo is, and whether this machine could do better."""
    verdict = "which fits this machine" if large_model_fits() else "which this machine is too small for"
    return f"{DEMO_NOTICE}; `gemma-mlx pull` fetches Gemma 4 12B, {verdict}"


def large_model_fits() -> bool:
    """Whether this machine has the memory for the 12B that `pull` fetches."""
    from gemma_mlx.device import this_machine
    from gemma_mlx.memory.plan import fits
    from gemma_mlx.memory.published import published_bytes

    machine = this_machine()
    return fits(published_bytes("4bit", 2 if machine.backend == "metal" else 4), machine)
