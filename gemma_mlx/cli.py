"""The `gemma-mlx` command: parses, calls, prints.

Everything heavy is imported inside the commands, so that `--help` answers at once. The answer goes to stdout, all
else to stderr. Exit status: 0, 1 for a `GemmaError` (one line, no traceback), 2 for wrong usage, 130 after Ctrl-C.
"""

import dataclasses
import inspect
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gemma_mlx.errors import GemmaError, InputError

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.generation.events import Event
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma
    from gemma_mlx.terminal import Console

MODEL_VARIABLE = "GEMMA_MLX_MODEL"
DEMO = "demo"
DEMO_NOTICE = (
    "this is the built-in demo model, a toy of a few MB; for Gemma 4 12B give its directory "
    f"with --model DIR or {MODEL_VARIABLE}"
)
ASK_EXAMPLES = """Examples:

\b
  gemma-mlx ask "Why is the sky blue?"
  gemma-mlx ask "What do you see?" -a photo.jpg
  gemma-mlx ask "Transcribe the recording." -a note.m4a --json
  screencapture -x -t png /dev/stdout | gemma-mlx ask "What is this error?" -a -
  gemma-mlx ask "What happens here?" -a clip.mp4 --fps 2 --max-frames 40"""
CHAT_EXAMPLES = """Examples:

\b
  gemma-mlx chat --model ~/models/gemma-4-12B-it-4bit
  gemma-mlx chat --system "Answer in one sentence." --temperature 0

In the chat: /attach FILE, /help, /quit. Ctrl-C stops the answer, not the program."""

app = typer.Typer(
    name="gemma-mlx",
    help="Gemma 4 12B on your own machine, with MLX: text, pictures, recordings and video in, text out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
        typer.Option(metavar="N", help="Frames read of each second of a video; without: 32 over its length."),
    ] = None
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most frames of a video; 60 with --fps if not given.")
    ] = None
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Longest reply.")] = 1024
    temperature: Annotated[float | None, typer.Option(min=0, metavar="T", help="0 takes the likeliest token.")] = None
    top_p: Annotated[float | None, typer.Option(metavar="P", help="Draw from the likeliest tokens of this share.")] = (
        None
    )
    top_k: Annotated[int | None, typer.Option(min=0, metavar="K", help="Draw from the K likeliest tokens.")] = None
    min_p: Annotated[
        float | None, typer.Option(metavar="P", help="Drop tokens below this share of the likeliest's probability.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Draw the same tokens again.")] = None
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

        source = sys.stdin.buffer.read() if file == "-" else os.path.expanduser(file)
        return open_attachment(source, max_soft_tokens=int(self.image_tokens), fps=self.fps, max_frames=self.max_frames)


def command(epilog: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command that takes `Settings` first: its options are added, faults become exit statuses."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(Settings).parameters
        _, *own = inspect.signature(body).parameters.values()

        def run(**values: Any) -> None:
            settings = Settings(**{name: values.pop(name) for name in shared})
            try:
                body(settings, **values)
            except GemmaError as fault:
                typer.echo(str(fault), err=True)
                raise typer.Exit(1) from None
            except KeyboardInterrupt:
                raise typer.Exit(130) from None

        run.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (*own, *shared.values())}
        return app.command(body.__name__, help=body.__doc__, epilog=epilog)(run)

    return register


@command(ASK_EXAMPLES)
def ask(
    settings: Settings,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", "-a", metavar="FILE", help="Picture, recording or video; repeatable; - is stdin."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of streaming.")] = False,
) -> None:
    """Answer one question, about attached files if there are any."""
    from gemma_mlx.generation.sampling import Sampler
    from gemma_mlx.terminal import collect, describe, result, show

    text = _question(prompt, attach or [])
    settings.sampler(Sampler())  # refuses bad options before anything is loaded
    parts = [settings.attachment(file) for file in attach or []]
    console = _console()
    for part in parts:
        console.say(describe(part))
    started = time.perf_counter()
    gemma = settings.load(console)
    load_s = time.perf_counter() - started
    chat = settings.chat(gemma)
    for part in _in_reading_order(text, parts):
        chat.add(part, read=False)  # with the question, so that the timing is of all
    with closing(settings.reply(chat)) as events:
        if as_json:
            finished = collect(events)
            print(json.dumps(result(finished, load_s, _surroundings(gemma, chat)), ensure_ascii=False))
        else:
            show(events, console)


@command(CHAT_EXAMPLES)
def chat(settings: Settings) -> None:
    """Talk, turn by turn, in the terminal."""
    from gemma_mlx.terminal import GREETING, Repl, describe

    console = _console()
    conversation = settings.chat(settings.load(console))

    def attach(file: str) -> str:
        part = settings.attachment(file)
        conversation.add(part)
        return describe(part)

    if sys.stdin.isatty():
        console.say(GREETING)
    if not Repl(partial(settings.reply, conversation), attach, console).run():
        raise KeyboardInterrupt


def _console() -> "Console":
    from gemma_mlx.terminal import Console

    if sys.stdin.isatty() and sys.stdout.isatty():
        import readline  # noqa: F401  # gives `input` its line editing and history

        return Console(partial(input, "> "), sys.stdout, sys.stderr)
    return Console(input, sys.stdout, sys.stderr)


def _question(prompt: str | None, files: list[str]) -> str:
    """The text of the turn. Raises `InputError` if there is none."""
    if prompt is None and not files:
        raise typer.BadParameter("give a question", param_hint="PROMPT")
    if prompt == "-":
        if "-" in files:
            raise InputError("- is standard input and can be the prompt or an attachment, not both: name a file")
        prompt = sys.stdin.read()
    if prompt and prompt.strip():
        return prompt
    if files:
        name = shlex.quote(files[0])
        raise InputError(f'{files[0]} came without a question: gemma-mlx ask "What is this?" -a {name}')
    raise InputError('the prompt is empty: gemma-mlx ask "What can you do?"')


def _in_reading_order(text: str, parts: list["Part"]) -> list["Part"]:
    """Pictures and videos before the question, recordings after it: the order that the model's card asks for."""
    from gemma_mlx.inputs.message import Audio, Text

    before = [part for part in parts if not isinstance(part, Audio)]
    return [*before, Text(text), *(part for part in parts if isinstance(part, Audio))]


def _surroundings(gemma: "Gemma", chat: "Chat") -> dict[str, Any]:
    """Memory and model, as `ask --json` reports them."""
    import mlx.core as mx

    memory = {
        "weights_bytes": gemma.weights_bytes,
        "kv_bytes": chat.context.caches.nbytes,
        "peak_bytes": mx.get_peak_memory(),
        "limit_bytes": mx.get_memory_limit(),
    }
    return {"memory": memory, "model": {"path": str(gemma.path), "bits": dict(gemma.bits)}}


def main() -> None:
    """Entry point of `gemma-mlx`."""
    _open_streams()
    app(prog_name="gemma-mlx")


def _open_streams() -> None:
    """A closed stream (`<&-`, a service) behaves like an empty one; input in no known encoding is read all the same."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the program runs
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
