"""Clips to what was said in them, and that as lines of text, of JSON or as subtitles.

Knows texts and times: not what recognises, so that anything may. Source of the format of subtitles: the SubRip files
that players read; milliseconds after a comma, a number and a blank line around each.
"""

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gemma_mlx.generation.events import Finished
from gemma_mlx.inputs.message import Audio
from gemma_mlx.transcription.clips import Clip
from gemma_mlx.transcription.task import Task

Form = Literal["text", "srt", "json"]
Recognise = Callable[[Audio], Finished]
_WIDTH = 42  # characters of a line of subtitles


@dataclass(frozen=True)
class Passage:
    """What was said from second `start` to second `end`; empty text for nothing. `notice`: why it may be wrong."""

    start: float
    end: float
    text: str
    translation: str | None = None
    notice: str | None = None

    @property
    def wanted(self) -> str:
        """The translation if there is one, else the text."""
        return self.text if self.translation is None else self.translation


def passages(clips: Iterable[Clip], recognise: Recognise, task: Task) -> Iterator[Passage]:
    """What is said in each clip, as soon as it is known; the next one is asked for after that."""
    for clip in clips:
        finished = recognise(clip.audio)
        text, translation = task.parts(finished.text)
        yield Passage(clip.start, clip.end, text, translation, _notice(finished, task, translation))


def _notice(finished: Finished, task: Task, translation: str | None) -> str | None:
    if finished.reason == "length":
        return f"cut off after {len(finished.tokens)} tokens, more than anybody says in this time: do not rely on it"
    if finished.notice:
        return f"stopped: {finished.notice}"
    if task.target is not None and translation is None and finished.text.strip():
        return f"came without a translation into {task.target}"
    return None


def clock(seconds: float) -> str:
    """A time for a person: 1:02:03, or 2:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Writer:
    """Passages in one form, each to end in a line break. Subtitles are counted as they come."""

    def __init__(self, form: Form, *, ascii_only: bool = False) -> None:
        """`ascii_only`: JSON without other characters."""
        self.form, self.ascii_only = form, ascii_only
        self._number = 0

    def write(self, passage: Passage) -> str:
        """What is to be printed of a passage: nothing where nothing was said, but in JSON, which tells that as well."""
        if self.form == "json":
            return f"{self._json(passage)}\n"
        if not passage.wanted:
            return ""
        return self._subtitle(passage) if self.form == "srt" else f"{passage.wanted}\n"

    def _subtitle(self, passage: Passage) -> str:
        self._number += 1
        times = f"{_stamp(math.floor, passage.start)} --> {_stamp(math.ceil, passage.end)}"
        text = passage.wanted.replace("-->", "→")  # what readers take for a line of times
        lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
        return "\n".join([str(self._number), times, *lines, "", ""])

    def _json(self, passage: Passage) -> str:
        fields = {
            "start": round(passage.start, 3),
            "end": round(passage.end, 3),
            "text": passage.text,
            "translation": passage.translation,
            "notice": passage.notice,
        }
        return json.dumps(fields, ensure_ascii=self.ascii_only)


def _stamp(rounded: Callable[[float], int], seconds: float) -> str:
    milliseconds = rounded(round(1000 * seconds, 6))  # thousandths that binary fractions miss are none
    second, millisecond = divmod(milliseconds, 1000)
    minute, second = divmod(second, 60)
    return f"{minute // 60:02d}:{minute % 60:02d}:{second:02d},{millisecond:03d}"
