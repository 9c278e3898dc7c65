"""What is said into a microphone as clips to write down, turn by turn.

Knows an inbox: no model. What is said while a clip is written down waits in the inbox.
"""

from collections.abc import Callable, Iterator

from gemma_mlx.capture.vad import SAMPLE_RATE
from gemma_mlx.live.inbox import Closed, Inbox, Opened, Sound, Told, Withdrawn
from gemma_mlx.live.recording import Recording
from gemma_mlx.transcription.clips import Clip

_WAIT = 0.1  # seconds after which a wait looks for signals


def clips(inbox: Inbox, tell: Callable[[str], None], over: Callable[[], bool]) -> Iterator[Clip]:
    """The clips of each turn when it is over, until `over` says so and no turn is open. Times count from the moment at
    which listening began; notices go to `tell`."""
    recording, start = None, 0
    while True:
        match inbox.take(_WAIT):
            case None if recording is None and over():
                return
            case Told(text):
                tell(text)
            case Opened(first):
                recording, start = Recording(), first
            case Sound(samples) if recording is not None:
                recording.append(samples)
            case Withdrawn():
                recording = None
            case Closed(stop) if recording is not None:
                at = start / SAMPLE_RATE
                for audio in recording.parts(stop):
                    yield Clip(at, audio)
                    at += len(audio.samples) / SAMPLE_RATE
                recording = None
