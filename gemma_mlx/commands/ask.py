"""`gemma-mlx ask`: one question, typed or spoken, about attached files, the screen or the clipboard."""

import codecs
import json
import shlex
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_mlx.capture.region import Region
from gemma_mlx.commands import shared
from gemma_mlx.commands.listening import Listening
from gemma_mlx.errors import InputError
from gemma_mlx.options import STDIN, Settings

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.commands.looking import Source
    from gemma_mlx.generation.events import Event
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.live.inbox import Inbox
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
  gemma-mlx ask --mic --screen
  gemma-mlx ask --mic "Translate what I say into French."
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

    def parts(self, settings: Settings, prepared: "Prepared", console: "Console") -> Iterator[tuple["Part", ...]]:
        """The parts of each, read: what is seen as it is now, before the files are read."""
        from gemma_mlx.commands.looking import look
        from gemma_mlx.inputs.attachment import open_picture

        pictures = [(look(source, console.say), str(source)) for source in self.seen]
        room = prepared.plan.knobs.context // max(1, len(self.files) + len(pictures))
        yield from (settings.attachment(file, prepared, room, console.say) for file in self.files)
        reading = settings.reading(prepared, room)
        yield from (open_picture(picture, reading, notice=console.say, name=name) for picture, name in pictures)


@dataclass(frozen=True)
class _Room:
    """Where a spoken question is heard."""

    chat: "Chat"
    settings: Settings
    console: "Console"

    def reply(self) -> Generator["Event"]:
        return self.settings.reply(self.chat)

    def tell(self, line: str) -> None:
        self.console.say(line)

    def answer(self, inbox: "Inbox | None") -> Generator["Event"]:
        """The answer to what was asked, and said if there is an inbox."""
        if inbox is None:
            return self.reply()
        from gemma_mlx.live.hearing import Hearing

        self.chat.read_ahead()
        hearing = Hearing(self, inbox)
        while not hearing.closed:
            hearing.listen(lambda: False)
        return hearing.answer()


def ask(
    settings: Settings,
    microphone: Listening,
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
    from gemma_mlx.terminal.words import describe_all

    seen: list[Source] = ["screen"] if screen else []
    seen += ["window"] if window else []
    seen += [Region.parse(region)] if region is not None else []
    seen += ["clipboard"] if clipboard else []
    attached = _Attached(tuple(attach or ()), tuple(seen))
    microphone.refuse_alone()
    text = _question(prompt, attached, spoken=microphone.mic)
    prepared = settings.prepare()
    console = shared.console()
    parts = [*attached.parts(settings, prepared, console)]
    for attachment in parts:
        console.say(describe_all(attachment, settings.fps))
    microphone.check(prepared)
    started = time.perf_counter()
    with microphone.opened(console.say) as ears, settings.loaded(prepared, console) as gemma:
        load_s = time.perf_counter() - started
        room = _Room(chat := settings.chat(gemma), settings, console)
        for part in _in_reading_order(text, parts):
            chat.add(part, read=False)  # with the question, so that the timing is of all
        with closing(room.answer(ears.inbox if ears else None)) as events:
            if as_json:
                answer = result(collect(events), load_s, _surroundings(gemma, chat))
                every_character = codecs.lookup(sys.stdout.encoding).name == "utf-8"
                print(json.dumps(answer, ensure_ascii=not every_character), flush=True)
            else:
                show(events, console)


def _question(prompt: str | None, attached: _Attached, *, spoken: bool) -> str:
    """The text of the turn; only where something is `spoken` it may be empty. Raises `InputError` if it is."""
    options = attached.options()
    if prompt is None and spoken:
        return ""
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


def _in_reading_order(text: str, attachments: list[tuple["Part", ...]]) -> list["Part"]:
    """Pictures and videos, with their sound, before the question, recordings after it: the order that the model's card
    asks for."""
    from gemma_mlx.inputs.message import Audio, Text

    before, after = list["Part"](), list["Part"]()
    for parts in attachments:
        recording = all(isinstance(part, Audio) for part in parts)
        (after if recording else before).extend(parts)
    return [*before, *([Text(text)] if text else []), *after]


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
