"""What is said into a microphone as clips to write down, turn by turn.

Knows an inbox: no model. What is said while a clip is written down waits in the inbox.
"""

import time
from collections.abc import Callable, Iterator

from gemma_mlx.capture.vad import SAMPLE_RATE
from gemma_mlx.live.inbox import Closed, Inbox, Opened, Sound, Told
from gemma_mlx.live.recording import Recording
from gemma_mlx.transcription.clips import Clip

_WAIT = 0.1  # seconds after which a wait looks for signals


def clips(inbox: Inbox, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Iterator[Clip]:
    """The clips of each turn when it is over, without end. Times count from now on; notices go to `tell`."""
    opened = start = clock()
    recording = Recording()
    while True:
        match inbox.take(_WAIT):
            case Told(text):
                tell(text)
            case Opened():
                recording, start = Recording(), clock()
            case Sound(samples):
                recording.append(samples)
            case Closed(stop):
                at = start - opened
                for audio in recording.parts(stop):
                    yield Clip(at, audio)
                    at += len(audio.samples) / SAMPLE_RATE
