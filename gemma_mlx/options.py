"""The options that every command of `gemma-mlx` shares, and what they make: a model, a conversation, attachments.

Knows options and their ranges: not commands, streams or exit statuses. Everything heavy is imported inside.
"""

import dataclasses
import math
import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gemma_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.generation.events import Event
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma
    from gemma_mlx.terminal import Console

MODEL_VARIABLE = "GEMMA_MLX_MODEL"
DEMO = "demo"
STDIN = "standard input"
DEMO_NOTICE = (
    "this is the built-in demo model, a toy of a few MB; for Gemma 4 12B give its directory "
    f"with --model DIR or {MODEL_VARIABLE}"
)


def _above_zero(value: float | None) -> float | None:
    """Ranges of options include their ends; this leaves out zero, and infinity."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("expected a number above 0")
    return value


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options that every command shares, as typed. None: what the model's own files say."""

    model: Annotated[str, typer.Option(envvar=MODEL_VARIABLE, metavar="DIR|demo", help="Directory of the model.")] = (
        DEMO
    )
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of activations; auto: float32 on a CPU, as stored on a GPU."),
    ] = "auto"
    context: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens that a conversation may hold.", show_default=False)
    ] = None
    system: Annotated[str | None, typer.Option(help="Instruction that precedes the conversation.")] = None
    think: Annotated[bool, typer.Option("--think/--no-think", help="Let the model think before it answers.")] = False
    image_tokens: Annotated[
        Literal["70", "140", "280", "560", "1120"], typer.Option(help="Most tokens that a picture may take.")
    ] = "280"
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="N", callback=_above_zero, help="Frames read of each second of a video; without: 32 in all."
        ),
    ] = None
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most frames of a video; 60 with --fps if not given.")
    ] = None
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

    def load(self, console: "Console") -> "Gemma":
        """The model, with a note on stderr if it is the demo."""
        from gemma_mlx.loading import load
        from gemma_mlx.terminal import loading_bar

        gemma = load(self.model, dtype=self.dtype, context=self.context, progress=loading_bar(console))
        if self.model == DEMO:
            console.say(DEMO_NOTICE)
        return gemma

    def chat(self, gemma: "Gemma") -> "Chat":
        from gemma_mlx.chat import Chat

        return Chat(gemma, self.system, enable_thinking=self.think)

    def reply(self, chat: "Chat", text: str | None = None) -> Generator["Event", None, None]:
        """The chat's answer to its open turn, closed with `text`."""
        sampler = self.sampler(chat.gemma.sampler)
        return chat.reply(text, sampler, max_tokens=self.max_tokens, stop=self.stop or ())

    def attachment(self, file: str) -> "Part":
        """A picture, recording or video from a file, or from standard input for "-"."""
        from gemma_mlx.inputs.attachment import open_attachment

        if not file:
            raise InputError("an attachment has no name: give a file")
        return open_attachment(
            sys.stdin.buffer.read() if file == "-" else os.path.expanduser(file),
            max_soft_tokens=int(self.image_tokens),
            fps=self.fps,
            max_frames=self.max_frames,
            name=STDIN if file == "-" else None,
        )
