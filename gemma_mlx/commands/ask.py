"""`gemma-mlx ask`: one question, about attached files if there are any."""

import codecs
import json
import shlex
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma_mlx.commands import shared
from gemma_mlx.errors import InputError
from gemma_mlx.options import STDIN, Settings

if TYPE_CHECKING:
    from gemma_mlx.chat import Chat
    from gemma_mlx.inputs.message import Part
    from gemma_mlx.loading import Gemma

EXAMPLES = """Examples:

\b
  gemma-mlx ask "Why is the sky blue?"
  gemma-mlx ask "What do you see?" -a photo.jpg
  gemma-mlx ask "Transcribe the recording." -a note.m4a --json
  screencapture -x -t png /dev/stdout | gemma-mlx ask "What is this error?" -a -
  gemma-mlx ask "What happens here?" -a clip.mp4 --fps 2 --max-frames 40"""


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
    from gemma_mlx.terminal.plain import collect, result, show
    from gemma_mlx.terminal.words import describe

    text = _question(prompt, attach or [])
    prepared = settings.prepare()
    parts = [settings.attachment(file, prepared) for file in attach or []]
    console = shared.console()
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
        "limit_bytes": gemma.plan.limit,
    }
    return {"memory": memory, "model": {"path": str(gemma.path), "bits": dict(gemma.bits)}}
