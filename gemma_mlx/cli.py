"""The `gemma-mlx` command: parses, calls, prints.

Everything heavy is imported inside the commands, so that `--help` answers at once. The answer goes to stdout, all
else to stderr. Exit status: 0, 1 for a `GemmaError` (one line, no traceback), 2 for wrong usage, 130 after Ctrl-C.
"""

import codecs
import errno
import inspect
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import typer

import gemma_mlx
from gemma_mlx.errors import GemmaError, InputError
from gemma_mlx.options import STDIN, Settings

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.generation.events import Event
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma
    from gemma_mlx.terminal import Console

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

In the chat: /attach FILE, /drop, /new, /help, /quit. Ctrl-C stops the answer, not the program."""

app = typer.Typer(
    name="gemma-mlx",
    help="Gemma 4 12B on your own machine, with MLX: text, pictures, recordings and video in, text out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_OUTPUT_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


class _Talk:
    """The conversation of `chat`, under the options of its command line."""

    def __init__(self, settings: Settings, gemma: "Gemma") -> None:
        self.settings, self.gemma = settings, gemma
        self.new()

    def answer(self, text: str) -> Generator["Event", None, None]:
        return self.settings.reply(self.chat, text)

    def attach(self, file: str) -> str:
        from gemma_mlx.terminal import describe

        part = self.settings.attachment(file)
        self.chat.add(part)
        return describe(part, self.settings.fps)

    def drop(self) -> int:
        dropped, self.chat.pending = self.chat.pending, ()
        return len(dropped)

    def new(self) -> None:
        self.chat = self.settings.chat(self.gemma)


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
    from gemma_mlx.terminal import collect, describe, result, show

    text = _question(prompt, attach or [])
    parts = [settings.attachment(file) for file in attach or []]
    console = _console()
    for part in parts:
        console.say(describe(part, settings.fps))
    started = time.perf_counter()
    gemma = settings.load(console)
    load_s = time.perf_counter() - started
    chat = settings.chat(gemma)
    for part in _in_reading_order(text, parts):
        chat.add(part, read=False)  # with the question, so that the timing is of all
    with closing(settings.reply(chat)) as events:
        if as_json:
            answer = result(collect(events), load_s, _surroundings(gemma, chat))
            every_character = codecs.lookup(sys.stdout.encoding).name == "utf-8"
            print(json.dumps(answer, ensure_ascii=not every_character), flush=True)
        else:
            show(events, console)


@command(CHAT_EXAMPLES)
def chat(settings: Settings) -> None:
    """Talk, turn by turn, in the terminal."""
    from gemma_mlx.terminal import GREETING, Repl

    console = _console()
    talk = _Talk(settings, settings.load(console))
    if sys.stdin.isatty():
        console.say(GREETING)
    if not Repl(talk, console).run():
        raise KeyboardInterrupt


def _console() -> "Console":
    from gemma_mlx.terminal import Console

    if sys.stdin.isatty() and sys.stdout.isatty():
        import readline  # noqa: F401  # gives `input` its line editing and history

        return Console(_prompted, sys.stdout, sys.stderr)
    return Console(input, sys.stdout, sys.stderr)


def _prompted() -> str:
    """A line typed at a terminal. Raises EOFError, with the cursor on a new line, after Ctrl-D."""
    try:
        return input("> ")
    except EOFError:
        print()
        raise


def _question(prompt: str | None, files: list[str]) -> str:
    """The text of the turn. Raises `InputError` if there is none."""
    if prompt is None and not files:
        raise typer.BadParameter("give a question", param_hint="PROMPT")
    if [prompt, *files].count("-") > 1:
        raise InputError("- is standard input, which can be one thing only: name a file")
    if prompt == "-":
        prompt = sys.stdin.read()
    if prompt and prompt.strip():
        return prompt
    if files:
        name = STDIN if files[0] == "-" else files[0]
        raise InputError(f'{name} came without a question: gemma-mlx ask "What is this?" -a {shlex.quote(files[0])}')
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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(gemma_mlx.__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself act by themselves."""


def main() -> None:
    """Entry point of `gemma-mlx`. A full disk or a closed output is one line, a reader that left is none."""
    _open_streams()
    try:
        app(prog_name="gemma-mlx")
    except OSError as fault:
        if fault.errno not in _OUTPUT_FAULTS:
            raise
        with suppress(OSError):
            typer.echo(f"the output cannot be written ({fault.strerror}): send it elsewhere", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # takes what is left in the buffer
        sys.exit(1)


def _open_streams() -> None:
    """A closed input (`<&-`, a service) is an empty one, a closed output a fault; no character is one."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the program runs
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        typer.echo("standard output is closed: send it somewhere", err=True)
        sys.exit(1)
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # stderr escapes them by itself
