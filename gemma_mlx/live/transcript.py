"""What was said in a spoken turn, in the model's own words, as the name of its recording.

So it is shown and saved wherever the conversation is, while the model goes on reading the recording itself. Knows
messages and the recogniser: no conversation.
"""

from dataclasses import replace

from gemma_mlx.inputs.message import Audio, Message, Part
from gemma_mlx.live.recording import NAME
from gemma_mlx.loading import Gemma
from gemma_mlx.transcription.recogniser import Recogniser
from gemma_mlx.transcription.task import Task


def written_down(message: Message, gemma: Gemma) -> Message:
    """The message with what was said as the names of its live recordings; itself if it has none without a name.

    Raises `GemmaError` if it cannot be read.
    """
    if not any(_is_unnamed(part) for part in message.parts):
        return message
    recognise = Recogniser(gemma, Task())
    return replace(message, parts=tuple(_named(part, recognise) for part in message.parts))


def _is_unnamed(part: Part) -> bool:
    return isinstance(part, Audio) and part.name == NAME


def _named(part: Part, recognise: Recogniser) -> Part:
    if not (isinstance(part, Audio) and part.name == NAME):
        return part
    said = " ".join(recognise(part).text.split())
    return replace(part, name=said or "(nothing)")
