"""`gemma-mlx ask`: one question, about attached files, the screen or the clipboard if they are asked for."""

import codecs
import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_mlx.capture.region import Region
from gemma_mlx.commands import shared
from gemma_mlx.errors import InputError
from gemma_mlx.options import STDIN, Settings

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.commands.looking import Source
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma, Prepared
    from gemma_mlx.terminal.plain import Console

EXAMPLES = """Examples:

\b
  gemma-mlx ask "Why is the sky blue?"
  gemma-mlx ask "What do you see?" -a photo.jpg
  gemma-mlx ask "Transcribe the recording." -a note.m4a --json
  gemma-mlx ask "What is this error?" --screen
  gemma-mlx ask "Which of these is the cheapest?" --window
  gemma-mlx ask "Read the first column." --region 0,25,800,600 --image-tokens 1120
  gemma-mlx ask "Translate this." --clipboard
  gemma-mlx ask "What happens here?" -a clip.mp4 --fps 2 --max-frames 40
  magick chart.svg png:- | gemma-mlx ask "What does the chart show?" -a -"""


def _region(value: str | None) -> str | None:
    """A region of the screen."""
    try:
        if value is not None:
            Region.parse(value)
    except InputError as fault:
        raise typer.BadParameter(str(fault)) from None
    return value


@dataclass(frozen=True)
class _Attached:
    """What the question is about: names of files, and what there is to see."""

    files: tuple[str, ...]
    seen: tuple["Source", ...]

    def options(self) -> list[str]:
        """As they are written on a command line."""
        return [*(f"-a {shlex.quote(file)}" for file in self.files), *(f"--{source}" for source in self.seen)]

    def names(self) -> list[str]:
        """As messages call them."""
        return [*(STDIN if file == "-" else file for file in self.files), *map(str, self.seen)]

    def parts(self, settings: Settings, prepared: "Prepared", console: "Console") -> Iterator["Part"]:
        """All of it, read: what is seen as it is now, before the files are read."""
        from gemma_mlx.commands.looking import look
        from gemma_mlx.inputs.message import Image

        pictures = [(look(source, console.say), str(source)) for source in self.seen]
        yield from (settings.attachment(file, prepared) for file in self.files)
        tokens = prepared.plan.knobs.image_tokens
        yield from (Image.open(picture, max_soft_tokens=tokens, name=name) for picture, name in pictures)


def ask(
    settings: Settings,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; - reads it from standard input.")
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", "-a", metavar="FILE", help="Picture, recording or video; repeatable; - is stdin."),
    ] = None,
    screen: Annotated[bool, typer.Option("--screen", help="Attach a picture of the whole screen.")] = False,
    window: Annotated[
        bool, typer.Option("--window", help="Attach a picture of a window, which you click then.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            callback=_region,
            help="Attach this part of the screen: left, top, width and height; in points on macOS.",
        ),
    ] = None,
    clipboard: Annotated[bool, typer.Option("--clipboard", help="Attach the picture in the clipboard.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of streaming.")] = False,
) -> None:
    """Answer one question, about attached files, the screen or the clipboard."""
    from gemma_mlx.terminal.plain import collect, result, show
    from gemma_mlx.terminal.words import describe

    seen: list[Source] = ["screen"] if screen else []
    seen += ["window"] if window else []
    seen += [Region.parse(region)] if region is not None else []
    seen += ["clipboard"] if clipboard else []
    attached = _Attached(tuple(attach or ()), tuple(seen))
    text = _question(prompt, attached)
    prepared = settings.prepare()
    console = shared.console()
    parts = [*attached.parts(settings, prepared, console)]
    for part in parts:
        console.say(describe(part, settings.fps))
    started = time.perf_counter()
    with settings.loaded(prepared, console) as gemma:
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


def _question(prompt: str | None, attached: _Attached) -> str:
    """The text of the turn. Raises `InputError` if there is none."""
    options = attached.options()
    if prompt is None and not options:
        raise typer.BadParameter("give a question", param_hint="PROMPT")
    if [prompt, *attached.files].count("-") > 1:
        raise InputError("- is standard input, which can be one thing only: name a file")
    if prompt == "-":
        prompt = sys.stdin.read()
    if prompt and prompt.strip():
        return prompt
    if options:
        name = attached.names()[0]
        raise InputError(f'{name} came without a question: gemma-mlx ask "What is this?" {options[0]}')
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
        "limit_bytes": gemma.plan.limit,
    }
    return {"memory": memory, "model": {"path": str(gemma.path), "bits": dict(gemma.bits)}}
