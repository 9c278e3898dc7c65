"""Turns from an inbox as clips to write down."""

import threading
from itertools import islice

import numpy as np

from gemma_mlx.capture.vad import FRAME_SAMPLES
from gemma_mlx.live.dictation import clips
from gemma_mlx.live.inbox import Closed, Inbox, Item, Opened, Paused, Resumed, Sound, Told, Withdrawn

SPEECH = np.random.default_rng(0).integers(-9000, 9000, 800 * FRAME_SAMPLES).astype(np.int16)


def test_each_turn_is_a_clip_and_false_starts_are_none() -> None:
    inbox, told = Inbox(), list[str]()
    made = clips(inbox, told.append, lambda: True)
    inbox.put(Told("muted"))
    first, second = Sound(SPEECH[: 20 * FRAME_SAMPLES]), Sound(SPEECH[20 * FRAME_SAMPLES : 40 * FRAME_SAMPLES])
    turn: tuple[Item, ...] = (
        Opened(40000),
        first,
        Paused(15 * FRAME_SAMPLES),
        Resumed(),
        second,
        Closed(30 * FRAME_SAMPLES),
    )
    for item in turn:
        inbox.put(item)
    (clip,) = islice(made, 1)
    assert (clip.start, told) == (2.5, ["muted"])
    np.testing.assert_array_equal(clip.audio.samples, SPEECH[: 30 * FRAME_SAMPLES].astype(np.float32) / 32768)
    inbox.put(Opened())
    inbox.put(Sound(SPEECH[:FRAME_SAMPLES]))
    inbox.put(Withdrawn())
    inbox.put(Opened(16000 * 89))
    inbox.put(Sound(SPEECH))
    inbox.put(Closed(SPEECH.size))
    begin, end = islice(made, 2)
    assert begin.start == 89.0
    assert begin.end == end.start
    assert len(begin.audio.samples) <= 750 * FRAME_SAMPLES
    both = np.concatenate([begin.audio.samples, end.audio.samples])
    np.testing.assert_array_equal(both, SPEECH.astype(np.float32) / 32768)
    assert not list(made)


def test_a_turn_that_is_open_at_the_end_is_waited_for() -> None:
    inbox, looks = Inbox(), 0

    def over() -> bool:
        nonlocal looks
        looks += 1
        return True

    inbox.put(Opened(640))
    inbox.put(Sound(SPEECH[:FRAME_SAMPLES]))
    closing = threading.Timer(0.4, lambda: inbox.put(Closed(FRAME_SAMPLES)))
    closing.start()
    (clip,) = clips(inbox, print, over)
    closing.join()
    assert (clip.start, looks) == (0.04, 1)
