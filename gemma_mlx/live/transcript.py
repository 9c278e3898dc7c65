"""What was said in a spoken turn, in the model's own words, as the name of its recording.

So it is shown and saved wherever the conversation is, while the model goes on reading the recording itself. Knows
messages and the recogniser: no conversation.
"""

from collections.abc import Callable
from dataclasses import replace

from gemma_mlx.inputs.message import SPOKEN, Audio, Message, Part
from gemma_mlx.loading import Gemma
from gemma_mlx.transcription.recogniser import Recogniser
from gemma_mlx.transcription.task import Task


def written_down(message: Message, gemma: Gemma, interrupted: Callable[[], bool]) -> Message:
    """The message with what was said as the names of its live recordings; itself if it has none without a name, or if
    it was `interrupted` before all were written down.

    Raises `GemmaError` if it cannot be read.
    """
    if interrupted() or not any(map(_is_unnamed, message.parts)):
        return message
    recognise, parts = Recogniser(gemma, Task()), list[Part]()
    for part in message.parts:
        if isinstance(part, Audio) and _is_unnamed(part):
            answer = recognise.unless(interrupted, part)
            if answer is None:
                return message
            part = replace(part, name=_name(answer.text))
        parts.append(part)
    return replace(message, parts=tuple(parts))


def _is_unnamed(part: Part) -> bool:
    return isinstance(part, Audio) and part.name == SPOKEN


def _name(text: str) -> str:
    said = " ".join(text.split())
    return f'"{said}"' if said == SPOKEN else said or "(nothing)"
