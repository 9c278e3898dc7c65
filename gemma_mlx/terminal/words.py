"""Short texts about values: an attachment in a line, a call, the end of a reply. Knows no stream and no terminal."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, assert_never

from gemma_mlx.generation.events import BadCall, Finished
from gemma_mlx.inputs.message import ToolCall

if TYPE_CHECKING:
    from gemma_mlx.inputs.message import Part

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """The text without control characters but line breaks and tabs: none that a terminal would obey."""
    return _CONTROLS.sub("�", text)


def wrapped(text: str) -> str:
    """The text, its lines broken between words where the terminal ends; words, such as addresses, stay whole."""
    columns = shutil.get_terminal_size().columns
    lines = text.split("\n")
    return "\n".join(
        line if len(line) <= columns else fill(line, columns, break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def count(number: int, thing: str) -> str:
    """A number of things: 1 token, 2,000 tokens."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def describe(part: "Part", fps: float | None = None) -> str:
    """An attachment in a line: its name, what it is, what it costs in tokens.

    `fps`: frames a second that were asked for of a video, named beside what was taken where that is less.
    """
    from gemma_mlx.inputs.message import Audio, Image, Text, Video
    from gemma_mlx.inputs.video import sampled_fps, token_cost

    match part:
        case Text():
            return part.text
        case Image():
            height, width, _ = part.pixels.shape
            cost = count(token_cost([part.pixels]), "token")
            return f"{part.name}: picture, read at {width} × {height} pixels, {cost}"
        case Audio():
            tokens = count(sum(len(block) for block in part.blocks()), "token")
            return f"{part.name}: recording of {len(part.samples) / 16000:.1f} s, {tokens}"
        case Video():
            frames, tokens = count(len(part.frames), "frame"), count(token_cost(part.frames), "token")
            taken = sampled_fps(part.timestamps)
            if fps and taken and taken < 0.99 * fps:  # 29.97 are 30
                frames += f" ({taken:.2g} a second, not {fps:g}: see --max-frames)"
            return f"{part.name}: video, {frames}, {tokens}"
        case _:
            assert_never(part)


def describe_all(parts: "Sequence[Part]", fps: float | None = None) -> str:
    """What one file gave in a line: see `describe`. Several parts are a video with its sound, or a picture in parts."""
    from gemma_mlx.inputs.message import Audio, Image, Video
    from gemma_mlx.inputs.video import token_cost

    if len(parts) == 1:
        return describe(parts[0], fps)
    views = [part for part in parts if isinstance(part, Image)]
    if views:
        cost = count(token_cost([view.pixels for view in views]), "token")
        return f"{views[-1].name} and {count(len(views) - 1, 'part')} of it: pictures, {cost}"
    pictures = [part for part in parts if isinstance(part, Video)]
    frames = tuple(frame for part in pictures for frame in part.frames)
    times = tuple(seconds for part in pictures for seconds in part.timestamps)
    tokens = sum(len(block) for part in parts if isinstance(part, Audio) for block in part.blocks())
    seen = describe(Video(pictures[0].name, frames, times), fps)
    return f"{seen}, with {tokens / 25:.1f} s of sound, {count(tokens, 'token')}"


def asked(parts: "Sequence[Part]") -> str:
    """A question in words: its text, or where there is none what it holds, in brackets."""
    from gemma_mlx.inputs.message import SPOKEN, Audio, Text

    text = "".join(part.text for part in parts if isinstance(part, Text))
    if text.strip():
        return text
    spoken = sum(len(part.samples) for part in parts if isinstance(part, Audio) and part.name == SPOKEN) / 16000
    others = dict.fromkeys(part.name for part in parts if not isinstance(part, Text) and part.name != SPOKEN)
    return f"[{', '.join([*others, *([f'spoken, {spoken:.1f} s'] if spoken else [])])}]"


def called(call: ToolCall) -> str:
    """A call as one line."""
    arguments = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f"[calls {call.name}({arguments})]"


def unreadable(call: BadCall) -> str:
    """A call that cannot be read, as one line."""
    return f"[a call that cannot be read: {call.fault}: {' '.join(call.raw.split())}]"


def ending(finished: Finished) -> Iterator[str]:
    """Lines about how a reply ended, if it did not end by itself."""
    if finished.notice:
        yield f"[stopped: {finished.notice}]"
    if finished.reason == "length":
        tokens = count(len(finished.tokens), "token")
        yield f"[cut off after {tokens}: raise --max-tokens, or --context if the conversation is long]"


def shortened(text: str, width: int = 60) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
