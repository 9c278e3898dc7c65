"""`gemma-mlx transcribe`: what is said in a recording of any length, as lines of text, of JSON or as subtitles."""

import codecs
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_mlx.commands import shared
from gemma_mlx.commands.listening import Ears, Listening
from gemma_mlx.errors import InputError
from gemma_mlx.options import STDIN, DraftOption, DtypeOption, MemoryOption, ModelOption, Settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from gemma_mlx.terminal.plain import Console
    from gemma_mlx.transcription.clips import Clip, Rule
    from gemma_mlx.transcription.passages import Form, Passage, Writer
    from gemma_mlx.transcription.task import Task

EXAMPLES = """Examples:

\b
  gemma-mlx transcribe interview.m4a
  gemma-mlx transcribe interview.m4a --language German
  gemma-mlx transcribe lecture.mp4 --language German --srt > lecture.srt
  gemma-mlx transcribe lecture.mp4 --language German --translate-to English --srt > lecture.en.srt
  gemma-mlx transcribe dictation.wav --pause 3 --longest 30
  gemma-mlx transcribe interview.m4a --json | jq -r .text
  gemma-mlx transcribe --mic --language German | tee notes.txt

A recording is cut in its pauses; each clip is written down by itself, with its times, and printed at once. With --srt
clips are shorter, unless --longest and --pause say otherwise. Silence is not read. With --mic,
Ctrl-C ends it, once what is being said is written down."""

_ENDING = b"\n[what was said is written down; Ctrl-C ends at once]\n"
_LONGEST, _PAUSE = 30.0, 1.0  # seconds: sentences
_LONGEST_SUBTITLE, _PAUSE_OF_SUBTITLES = 8.0, 0.4  # as long as one stays on the screen


def transcribe(
    microphone: Listening,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A recording, or a video with sound; - is standard input.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="NAME", help="The language that is spoken, in English: German.")
    ] = None,
    translate_to: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print the translation into this language; needs --language.")
    ] = None,
    srt: Annotated[bool, typer.Option("--srt", help="Print subtitles (SubRip).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line, with times.")] = False,
    longest: Annotated[
        float | None, typer.Option(min=1, max=30, metavar="SECONDS", help="Longest clip: 30, with --srt 8.")
    ] = None,
    pause: Annotated[
        float | None,
        typer.Option(min=0.2, max=30, metavar="SECONDS", help="Silence that ends a clip: 1, with --srt 0.4."),
    ] = None,
    model: ModelOption = None,
    dtype: DtypeOption = "auto",
    draft: DraftOption = "auto",
    memory: MemoryOption = None,
) -> None:
    """Write down what is said in a recording, of any length, or into the microphone."""
    from gemma_mlx.transcription.clips import FRAMES_PER_SECOND, Rule
    from gemma_mlx.transcription.task import Task

    if srt and as_json:
        raise typer.BadParameter("give --srt or --json, not both")
    if (file is None) != microphone.mic:
        raise typer.BadParameter("give a file, or --mic", param_hint="FILE")
    microphone.refuse_alone()
    if microphone.mic and (longest or pause):
        raise typer.BadParameter("with --mic turns end where --silence says", param_hint="--longest, --pause")
    task = Task(language, translate_to)
    form: Form = "srt" if srt else "json" if as_json else "text"
    settings = Settings(model=model, dtype=dtype, draft=draft, memory=memory)
    if file is None:
        _write_down_speech(microphone, task, form, settings)
        return
    longest = longest or (_LONGEST_SUBTITLE if srt else _LONGEST)
    pause = pause or (_PAUSE_OF_SUBTITLES if srt else _PAUSE)
    rule = Rule(most=int(longest * FRAMES_PER_SECOND), pause=round(pause * FRAMES_PER_SECOND))
    _transcribe(file, task, rule, form, settings)


def _write_down_speech(microphone: Listening, task: "Task", form: "Form", settings: Settings) -> None:
    """Print what is said into the microphone, turn by turn, until Ctrl-C; a turn that is open then is printed too."""
    from gemma_mlx.live.dictation import clips
    from gemma_mlx.transcription.passages import passages

    prepared = settings.prepare()
    console = shared.console()
    microphone.check(prepared)
    with microphone.opened(console.say) as ears, settings.loaded(prepared, console) as gemma:
        from gemma_mlx.transcription.recogniser import Recogniser

        assert ears is not None, "it was asked for"
        screen, writer = _Screen(console, None), _writer(form)
        with _until_interrupted(ears) as over:
            for passage in passages(clips(ears.inbox, console.say, over), Recogniser(gemma, task), task):
                screen.print(passage, writer)


@contextmanager
def _until_interrupted(ears: Ears) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: then nothing more is heard, and what was said is written down. Once more, and it ends
    as usual."""
    pressed = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)
        ears.listener.mute(True)
        os.write(sys.stderr.fileno(), _ENDING)  # whatever the program is writing just now

    usual = signal.signal(signal.SIGINT, end)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, usual)


def _transcribe(file: str, task: "Task", rule: "Rule", form: "Form", settings: Settings) -> None:
    """Print what is said in the file. Its faults, as far as its beginning shows them, come before a model is loaded."""
    from gemma_mlx.inputs import audio
    from gemma_mlx.transcription.clips import clips
    from gemma_mlx.transcription.passages import passages

    source, name = _source(file)
    prepared = settings.prepare()
    console = shared.console()
    length = audio.duration(source, name=name)
    found = clips(audio.chunks(source, name=name), rule, name)
    first = next(found, None)
    if first is None:
        console.say(f"{name} is silent: nothing is said in it")
        return
    with settings.loaded(prepared, console) as gemma:
        from gemma_mlx.transcription.recogniser import Recogniser

        recognise = Recogniser(gemma, task)
        writer = _writer(form)
        with _screen(name, length, console) as screen:
            for passage in passages(screen.followed(chain([first], found)), recognise, task):
                screen.print(passage, writer)


def _writer(form: "Form") -> "Writer":
    from gemma_mlx.transcription.passages import Writer

    return Writer(form, ascii_only=codecs.lookup(sys.stdout.encoding).name != "utf-8")


def _source(file: str) -> tuple[str | bytes, str]:
    """What to read, and how messages call it."""
    if not file:
        raise InputError("the recording has no name: give a file")
    if file == "-":
        return sys.stdin.buffer.read(), STDIN
    return os.path.expanduser(file), file


class _Screen:
    """What is printed, and below it on a terminal how far the work is."""

    def __init__(self, console: "Console", bars: "Progress | None") -> None:
        self.console, self.bars = console, bars

    def followed(self, clips: Iterator["Clip"]) -> Iterator["Clip"]:
        """The clips; the bar stands where the last one ended."""
        from gemma_mlx.transcription.passages import clock

        for clip in clips:
            yield clip
            if self.bars is not None:
                self.bars.update(self.bars.task_ids[0], completed=clip.end, at=clock(clip.end))

    def print(self, passage: "Passage", writer: "Writer") -> None:
        """A passage, and on stderr what is wrong with it."""
        from gemma_mlx.terminal.words import visible
        from gemma_mlx.transcription.passages import clock

        text, out = writer.write(passage), self.console.out
        with self._without_bar():
            out.write(visible(text) if out.isatty() else text)
            out.flush()
            if passage.notice:
                self.console.say(f"[{clock(passage.start)} to {clock(passage.end)} {passage.notice}]")

    @contextmanager
    def _without_bar(self) -> Iterator[None]:
        if self.bars is None:
            yield
            return
        self.bars.stop()
        yield
        self.bars.start()


@contextmanager
def _screen(name: str, seconds: float | None, console: "Console") -> Iterator[_Screen]:
    """With a bar if stderr is a terminal; it goes away when the work ends."""
    if not console.err.isatty():
        yield _Screen(console, None)
        return
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from gemma_mlx.terminal.words import shortened
    from gemma_mlx.transcription.passages import clock

    whole = "" if seconds is None else f" of {clock(seconds)}"
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}" + whole))
    terminal = Terminal(file=console.err, markup=False)
    bars = Progress(
        *columns, TimeRemainingColumn(), console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with bars:
        bars.add_task(shortened(name, 30), total=seconds, at=clock(0))
        yield _Screen(console, bars)
