"""What the model is asked to do with speech: the published prompts, and what their answers consist of.

Knows words: no sound and no model. Source: the prompts for speech recognition and for speech translation of Gemma 4's
model card and audio notebook, word for word.
"""

import re
from dataclasses import dataclass

from gemma_mlx.errors import InputError

_FORMAT = """Follow these specific instructions for formatting the answer:
* Only output the transcription, with no newlines.
* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, and write 3 instead of three."""
_ANY = f"Transcribe the following speech segment in its original language. {_FORMAT}"
_ONE = f"Transcribe the following speech segment in {{source}} into {{source}} text.\n\n{_FORMAT}"
_TRANSLATED = """Transcribe the following speech segment in {source}, then translate it into {target}.
When formatting the answer, first output the transcription in {source}, then one newline, then output the string \
'{target}: ', then the translation in {target}."""
_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ ()'’-])*")
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Task:
    """Write speech down, in `language` if it is known, and translate it if there is a `target` language.

    Raises `InputError` for a translation from an unknown language, and for what is no name of a language.
    """

    language: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        for name in (self.language, self.target):
            if name is not None:
                _check(name)
        if self.target is not None and self.language is None:
            raise InputError(f"a translation into {self.target} needs the language that is spoken: give --language")

    @property
    def prompt(self) -> str:
        """What stands before the recording."""
        if self.language is None:
            return _ANY
        if self.target is None:
            return _ONE.format(source=self.language)
        return _TRANSLATED.format(source=self.language, target=self.target)

    def parts(self, answer: str) -> tuple[str, str | None]:
        """The transcription and the translation of an answer, each in one line. Without a translation in the form that
        was asked for, all of it is transcription."""
        if self.target is None:
            return _line(answer), None
        before, found, after = f"\n{answer}".partition(f"\n{self.target}: ")
        return _line(before), _line(after) if found else None


def _check(name: str) -> None:
    if len(name) < 3:
        raise InputError(f"{name!r} is no name of a language: write it in English, such as German")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InputError(f"{name[:_LONGEST_NAME]!r} is no name of a language: write letters, such as German")


def _line(text: str) -> str:
    return " ".join(text.split())
